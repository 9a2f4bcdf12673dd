/** A list of terms with their values. */
import { html } from "./html.js";

/**
 * @param {{ kind: string, label?: string, facts: readonly (readonly [string, unknown])[] }} props
 *   `kind` is the style's class, `label` what the list is of, where no heading says it
 */
export function Terms({ kind, label, facts }) {
  return html`
    <dl class=${kind} aria-label=${label}>
      ${facts.map(([term, value]) =>
        html`
          <div>
            <dt>${term}</dt>
            <dd>${value}</dd>
          </div>
        `
      )}
    </dl>
  `;
}
