/** Text in HTML and SVG. Names of modules come from files that others made. */

/** Text with the characters escaped that mean something in HTML. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A figure with four significant digits; a dash for none. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(4)));
}

/** A figure short enough for an axis: `82.04`, `1.1e-3`. */
export function axisFigure(value: number): string {
  const size = Math.abs(value);
  return value === 0 || (size >= 0.01 && size < 10_000) ? figure(value) : value.toExponential(1);
}

/** A share as a percentage with three significant digits. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? "–" : `${Number((share * 100).toPrecision(3))}%`;
}

/** A table with a caption; the first column names the row. */
export function table(
  caption: string,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const head = headings.map((text) => `<th scope="col">${escaped(text)}</th>`).join("");
  const body = rows.map(([first, ...cells]) =>
    `<tr><th scope="row">${escaped(first)}</th>` +
    cells.map((text) => `<td>${escaped(text)}</td>`).join("") + "</tr>"
  );
  return `<div class="wide"><table><caption>${escaped(caption)}</caption><thead><tr>${head}</tr>` +
    `</thead><tbody>${body.join("\n")}</tbody></table></div>`;
}

/** A picture in the classes of the style. */
export interface Drawing {
  readonly title: string;
  /** What it shows in words, for those who do not see it. */
  readonly desc: string;
  /** In pixels, as the height. */
  readonly width: number;
  readonly height: number;
  /** Elements of SVG. */
  readonly body: string;
}

/** A drawing with axes. */
export interface Chart extends Drawing {
  /** The rectangle between the axes, in pixels. */
  readonly plot: {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
  };
}

/** A drawing inside a page. */
export function svg({ title, desc, width, height, body }: Drawing): string {
  return `<svg role="img" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">` +
    `<title>${escaped(title)}</title><desc>${escaped(desc)}</desc>${body}</svg>`;
}

/** A drawing with a caption below it. */
export function captioned(drawing: Drawing, caption: string): string {
  return `<figure>${svg(drawing)}<figcaption>${escaped(caption)}</figcaption></figure>`;
}

/** A long part that opens at a click. */
export function folded(name: string, body: string): string {
  return `<details><summary>${escaped(name)}</summary>${body}</details>`;
}

/** A number for SVG: a tenth of a pixel is enough. */
export const at = (value: number) => String(Math.round(value * 10) / 10);
