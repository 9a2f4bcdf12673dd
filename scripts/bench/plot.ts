/** A plot of memory against speed as SVG: one point a side and workload, both axes logarithmic. */

export interface Point {
  /** Megabytes, across. */
  readonly memory: number;
  /** Tokens a second, upwards. */
  readonly speed: number;
  /** Who: gives the colour. */
  readonly side: string;
  /** On what: gives the mark. */
  readonly workload: string;
}

const [WIDTH, HEIGHT] = [760, 460];
const FRAME = { left: 70, right: 200, top: 24, bottom: 52 };
const COLOURS = ["#1b6ca8", "#3aa17e", "#c0392b", "#d98e04", "#7d5ba6", "#555555"];
const MARKS: readonly ((x: number, y: number) => string)[] = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="6"/>`,
  (x, y) => `<rect x="${x - 5.5}" y="${y - 5.5}" width="11" height="11"/>`,
  (x, y) => `<path d="M${x} ${y - 7}L${x + 7} ${y + 6}H${x - 7}Z"/>`,
  (x, y) => `<path d="M${x} ${y - 8}L${x + 7} ${y}L${x} ${y + 8}L${x - 7} ${y}Z"/>`,
];

/** Round values between two others: 1, 2 and 5 times powers of ten. */
export function ticks(from: number, to: number): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
    for (const digit of [1, 2, 5]) {
      const value = Number((digit * 10 ** power).toPrecision(1));
      if (value >= from && value <= to) found.push(value);
    }
  }
  return found;
}

/** The picture; above and to the left is better. */
export function memorySpeedPlot(points: readonly Point[]): string {
  const sides = [...new Set(points.map(({ side }) => side))];
  const workloads = [...new Set(points.map(({ workload }) => workload))];
  const across = axis(points.map(({ memory }) => memory), FRAME.left, WIDTH - FRAME.right);
  const up = axis(points.map(({ speed }) => speed), HEIGHT - FRAME.bottom, FRAME.top);
  const colour = (side: string) => COLOURS[sides.indexOf(side) % COLOURS.length];
  const mark = (workload: string) => MARKS[workloads.indexOf(workload) % MARKS.length];
  const [left, right] = [FRAME.left, WIDTH - FRAME.right];
  const [top, bottom] = [FRAME.top, HEIGHT - FRAME.bottom];
  const legend = right + 24;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    `<title>Memory against speed</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...ticks(...across.range).map((value) => {
      const x = across.at(value);
      return `<path d="M${x} ${top}V${bottom}" stroke="#dddddd"/>` +
        text(x, bottom + 18, String(value), "middle");
    }),
    ...ticks(...up.range).map((value) => {
      const y = up.at(value);
      return `<path d="M${left} ${y}H${right}" stroke="#dddddd"/>` +
        text(left - 8, y + 4, String(value), "end");
    }),
    `<path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="#333333"/>`,
    text((left + right) / 2, HEIGHT - 12, "peak memory, MB", "middle"),
    `<g transform="translate(16 ${(top + bottom) / 2}) rotate(-90)">` +
    text(0, 4, "tokens per second", "middle") + "</g>",
    ...points.map(({ memory, speed, side, workload }) =>
      `<g fill="${colour(side)}"><title>${
        escape(`${side}, ${workload}: ${Math.round(speed)} tok/s, ${Math.round(memory)} MB`)
      }</title>${mark(workload)(across.at(memory), up.at(speed))}</g>`
    ),
    ...sides.map((side, i) =>
      `<g fill="${colour(side)}">${MARKS[0](legend, top + 12 + 22 * i)}</g>` +
      text(legend + 14, top + 16 + 22 * i, side)
    ),
    ...workloads.map((workload, i) => {
      const y = top + 40 + 22 * (sides.length + i);
      return `<g fill="#777777">${mark(workload)(legend, y)}</g>` +
        text(legend + 14, y + 4, workload);
    }),
    "</svg>",
    "",
  ].join("\n");
}

/** A logarithmic axis with room at both ends. */
function axis(values: readonly number[], from: number, to: number) {
  const low = Math.min(...values) / 1.5;
  const high = Math.max(...values) * 1.5;
  const span = Math.log(high / low);
  return {
    range: [low, high] as [number, number],
    at: (value: number) => Number((from + (to - from) * Math.log(value / low) / span).toFixed(1)),
  };
}

function text(x: number, y: number, content: string, anchor = "start"): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222222">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
