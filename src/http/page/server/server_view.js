/** How the server does: its settings, and its figures over the last minutes. */
import { Chart } from "../shared/chart.js";
import { formatBytes, formatNumber } from "../shared/format.js";
import { html } from "../shared/html.js";
import { useStore } from "../shared/store.js";
import { Terms } from "../shared/terms.js";
import { tokensPerSecond } from "./figures.js";
import { server } from "./server_state.js";

const KINDS = { causal: "language model", encoder: "encoder", classifier: "classifier" };

/** @param {number} at milliseconds */
const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

export function ServerView() {
  const { props, models, figures } = useStore(server);
  if (props === undefined) return null;
  const now = figures.at(-1);
  /** @type {[string, string][]} */
  const facts = [
    ["Model", props.model_alias],
    ["Kind", KINDS[props.model_kind]],
    [
      "Context",
      props.default_generation_settings.n_ctx === null
        ? "not limited"
        : `${props.default_generation_settings.n_ctx} tokens`,
    ],
    ["Answers at the same time", `${props.total_slots}`],
    ["Models and adapters", `${models.length}`],
    ["Version", props.build_info],
    ["Memory of the server", formatBytes(now?.residentBytes)],
    ["Memory available", formatBytes(now?.availableBytes)],
  ];
  const time = { xLabel: "Time", x: figures.map(({ at }) => at), formatX: clock };
  const zones = now?.temperatures ?? [];
  return html`
    <section aria-labelledby="settings-heading">
      <h2 id="settings-heading">Settings</h2>
      <${Terms} kind="facts" facts=${facts} />
    </section>
    <h2 id="figures-heading">Figures</h2>
    <section aria-labelledby="figures-heading" class="charts">
      <${Chart}
        title="Tokens per second"
        ...${time}
        fromZero
        series=${[{
          label: "mean of 30 seconds",
          values: figures.map((_, i) => tokensPerSecond(figures, i)),
        }]}
        format=${formatNumber}
      />
      <${Chart}
        title="Requests in work and waiting"
        ...${time}
        fromZero
        series=${[{ label: "requests", values: figures.map(({ inWork }) => inWork) }]}
        format=${(/** @type {number} */ value) => Number.isInteger(value) ? `${value}` : ""}
      />
      <${Chart}
        title="Memory"
        ...${time}
        fromZero
        series=${[{
          label: "server",
          values: figures.map(({ residentBytes }) => residentBytes),
        }]}
        format=${formatBytes}
      />
      ${zones.length === 0 ? html`<p class="note">This machine shows no temperature.</p>` : html`
        <${Chart}
          title="Temperature"
          ...${time}
          series=${[{
            label: `hottest zone, ${zones[0].zone}`,
            values: figures.map(({ temperatures }) => temperatures[0]?.celsius ?? null),
          }]}
          format=${(/** @type {number} */ celsius) => `${formatNumber(celsius)} °C`}
        />
      `}
    </section>
  `;
}
