/** Charts as SVG files of their own: on a white ground, with title, labels of the axes and a key. */
import { at, type Chart, type Drawing, escaped } from "./html.ts";
import { pictureStyle } from "./style.ts";

/** What a chart has around it. */
export interface Surroundings {
  readonly title: string;
  /** Below the title. */
  readonly subtitle: string;
  /** What x is, for charts that do not say it themselves. */
  readonly xLabel?: string;
  readonly yLabel: string;
  /** Below the chart: what colours and lines mean. */
  readonly key: Drawing;
}

/** Pixels around the chart; the left has the label of y, the top has title and subtitle. */
const [LEFT, TOP, PADDING] = [20, 44, 10];
/** Lowest width, for the title of a narrow chart. */
const LOWEST_WIDTH = 360;
/** Width of a letter as a share of the font's size: the average of English in DejaVu Sans, and a bit more. */
const LETTER = 0.62;
const [TITLE_SIZE, TEXT_SIZE] = [13, 11];

/** The text of an SVG file. */
export function standalone(chart: Chart, around: Surroundings): string {
  const { title, subtitle, xLabel, yLabel, key } = around;
  const width = Math.max(LOWEST_WIDTH, LEFT + Math.max(chart.width, key.width) + PADDING);
  const keyTop = TOP + chart.height + 6;
  const height = keyTop + key.height + PADDING;
  const { plot } = chart;
  const [centreX, centreY] = [LEFT + plot.x + plot.width / 2, TOP + plot.y + plot.height / 2];
  const room = width - 2 * PADDING;
  const text = (of: string, place: string) => `<text ${place}>${escaped(of)}</text>`;
  // Both lie about the middle of what they label, as far as they are not longer than it.
  const xRoom = 2 * Math.min(centreX, width - centreX);
  const yRoom = 2 * Math.min(centreY - TOP + PADDING, height - centreY);
  const parts = [
    `<rect class="ground" width="${at(width)}" height="${at(height)}"/>`,
    text(cut(title, room, TITLE_SIZE), `class="title" x="${PADDING}" y="20"`),
    text(cut(subtitle, room), `x="${PADDING}" y="36"`),
    text(
      cut(yLabel, yRoom),
      `class="label" transform="translate(15 ${at(centreY)}) rotate(-90)" text-anchor="middle"`,
    ),
    xLabel === undefined ? "" : text(
      cut(xLabel, xRoom),
      `class="label" x="${at(centreX)}" y="${at(TOP + chart.height - 2)}" text-anchor="middle"`,
    ),
    `<g transform="translate(${LEFT} ${TOP})">${chart.body}</g>`,
    `<g transform="translate(${at(LEFT + plot.x)} ${at(keyTop)})">${key.body}</g>`,
  ];
  const [w, h] = [Math.ceil(width), Math.ceil(height)];
  return inXml(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" ` +
      `font-family="DejaVu Sans, sans-serif"><title>${escaped(chart.title)}</title>` +
      `<desc>${escaped(chart.desc)}</desc><style>${pictureStyle()}</style>${
        parts.join("")
      }</svg>\n`,
  );
}

/** A text that fits a width in pixels: a longer one loses what is between its first quarter and its end. */
export function cut(text: string, width: number, size = TEXT_SIZE): string {
  const letters = Array.from(text);
  const most = Math.max(1, Math.floor(width / (LETTER * size)));
  if (letters.length <= most) return text;
  const head = Math.floor(most / 4);
  return [...letters.slice(0, head), "…", ...letters.slice(letters.length - (most - 1 - head))]
    .join("");
}

/** Text without the characters that XML does not have, which HTML accepts. */
function inXml(text: string): string {
  return text.replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD");
}
