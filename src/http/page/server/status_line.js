/** The model and its figures in one line. */
import { formatBytes, formatNumber } from "../shared/format.js";
import { html } from "../shared/html.js";
import { useStore } from "../shared/store.js";
import { Terms } from "../shared/terms.js";
import { tokensPerSecond } from "./figures.js";
import { server } from "./server_state.js";

export function StatusLine() {
  const { props, figures } = useStore(server);
  const now = figures.at(-1);
  if (props === undefined) return html`<dl class="figures" aria-label="Server"></dl>`;
  /** @type {(readonly [string, string])[]} */
  const shown = [["Model", props.model_alias]];
  if (now !== undefined) {
    shown.push(
      ["Tokens per second", formatNumber(tokensPerSecond(figures))],
      ["In work", `${now.inWork} of ${props.max_concurrent_requests}`],
      ["Memory", formatBytes(now.residentBytes)],
    );
    const [hottest] = now.temperatures;
    if (hottest !== undefined) shown.push(["Temperature", `${formatNumber(hottest.celsius)} °C`]);
  }
  return html`
    <${Terms} kind="figures" label="Server" facts=${shown} />
  `;
}
