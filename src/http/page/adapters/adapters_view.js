/** Adapters: load, replace, roll back, unload, and their shares in the mix. */
import { server } from "../server/server_state.js";
import { html } from "../shared/html.js";
import { useStore } from "../shared/store.js";
import { AdapterTable } from "./adapter_table.js";
import { LoadForm } from "./load_form.js";
import { Mix } from "./mix.js";

export function AdaptersView() {
  const { adapters, props } = useStore(server);
  if (props === undefined) return null;
  const { features, base_model: base } = props;
  const mixable = adapters.filter((adapter) => adapter.mixable);
  if (!features.adapters) {
    return html`
      <p class="note">
        This server takes no adapters. Start <code>graft serve</code> with <code>--lora-dir DIR</code>
        for a folder of adapters that can be loaded here, or with${" "}
        <code>--lora-modules NAME=DIR</code> for adapters of its own; or install the service with${" "}
        <code>--lora-dir DIR</code>.
      </p>
    `;
  }
  return html`
    <section aria-labelledby="loaded-heading">
      <h2 id="loaded-heading">Loaded</h2>
      ${adapters.length === 0
        ? html`<p>No adapter is loaded: requests are answered by ${base}.</p>`
        : html`<${AdapterTable} adapters=${adapters} />`}
    </section>
    ${mixable.length > 0 && html`<${Mix} adapters=${mixable} base=${base} />`}
    <section aria-labelledby="load-heading">
      <h2 id="load-heading">Load</h2>
      ${features.adapter_loading
        ? html`
          <${LoadForm} adapters=${adapters} merges=${features.adapter_merging} />
        `
        : html`
          <p class="note">
            Start <code>graft serve</code> with <code>--lora-dir DIR</code> to load adapters from a
            folder here.
          </p>
        `}
    </section>
  `;
}
