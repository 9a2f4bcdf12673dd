/** The figures of curves as a table. */
import { useState } from "preact/hooks";
import { html } from "./html.js";
import { spread } from "./spread.js";

/** Most rows: of more points, those at equal distances. */
const MOST_ROWS = 50;

/** @param {import("./chart.js").ChartProps} props */
export function ChartTable({ title, xLabel, x, series, format, formatX }) {
  const [isOpen, setOpen] = useState(false);
  return html`
    <details onToggle=${(/** @type {any} */ event) => setOpen(event.target.open)}>
      <summary>${title} as a table</summary>
      ${isOpen && html`
        <div class="scroll" tabindex="0" role="region" aria-label=${`${title} as a table`}>
          <table>
            <caption>${title}</caption>
            <thead>
              <tr>
                <th scope="col">${xLabel}</th>
                ${series.map(({ label }) => html`<th scope="col">${label}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${spread(x.length, MOST_ROWS).map((i) =>
                html`
                  <tr>
                    <th scope="row">${formatX?.(x[i]) ?? x[i]}</th>
                    ${series.map(({ values }) => {
                      const value = values[i];
                      return html`<td class="number">${value === null ? "" : format(value)}</td>`;
                    })}
                  </tr>
                `
              )}
            </tbody>
          </table>
        </div>
      `}
    </details>
  `;
}
