/** The latency that methods add to their base, by batch and length, as an SVG of bars. */

/** A method's bars. */
export interface MethodBars {
  readonly name: string;
  /** Time divided by the base's, one for each shape. */
  readonly ratios: readonly number[];
}

const [WIDTH, HEIGHT] = [760, 360];
const FRAME = { left: 64, right: 190, top: 24, bottom: 44 };
const COLOURS = ["#1b6ca8", "#3aa17e", "#c0392b", "#d98e04", "#7d5ba6", "#555555", "#8a6d3b"];
/** Share of a group's width that its bars take. */
const FILLED = 0.8;
/** Steps between the lines of the scale, in percent. */
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500] as const;
/** Most lines of the scale. */
const MOST_LINES = 8;

/**
 * The picture: a group of bars for each shape; a bar's height is the time added to the base's, in percent.
 *
 * @param shapes names of the groups, such as `1×128`
 */
export function methodsPlot(shapes: readonly string[], methods: readonly MethodBars[]): string {
  const added = methods.map(({ ratios }) => ratios.map((ratio) => 100 * (ratio - 1)));
  const [least, most] = [Math.min(0, ...added.flat()), Math.max(1, ...added.flat())];
  const step = STEPS.find((size) => (most - least) / size <= MOST_LINES) ?? 1000;
  const [low, high] = [Math.floor(least / step) * step, Math.ceil(most / step) * step];
  const [right, bottom] = [WIDTH - FRAME.right, HEIGHT - FRAME.bottom];
  const y = (percent: number) => bottom - (percent - low) / (high - low) * (bottom - FRAME.top);
  const group = (right - FRAME.left) / shapes.length;
  const width = group * FILLED / methods.length;
  const lines = Array.from({ length: (high - low) / step + 1 }, (_, i) => low + i * step);
  const bar = (method: number, shape: number) => {
    const percent = added[method][shape];
    const x = FRAME.left + group * (shape + (1 - FILLED) / 2) + width * method;
    const [top, height] = [y(Math.max(0, percent)), Math.abs(y(percent) - y(0))];
    return `<rect x="${at(x)}" y="${at(top)}" width="${at(width)}" height="${at(height)}" ` +
      `fill="${colour(method)}"><title>${escaped(methods[method].name)}, ${shapes[shape]}: ${
        percent.toFixed(1)
      }%</title></rect>`;
  };
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    `<title>Latency added to the base, in percent, by sequences × tokens</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...lines.map((percent) =>
      `<path d="M${FRAME.left} ${at(y(percent))}H${right}" stroke="${
        percent === 0 ? "#333333" : "#dddddd"
      }"/>` + text(FRAME.left - 8, y(percent) + 4, `${percent}%`, "end")
    ),
    ...methods.flatMap((_, method) => shapes.map((_, shape) => bar(method, shape))),
    ...shapes.map((shape, i) => text(FRAME.left + group * (i + 0.5), bottom + 18, shape, "middle")),
    text((FRAME.left + right) / 2, HEIGHT - 8, "sequences × tokens", "middle"),
    ...methods.map(({ name }, i) =>
      `<rect x="${right + 16}" y="${FRAME.top + 22 * i}" width="12" height="12" fill="${
        colour(i)
      }"/>` + text(right + 34, FRAME.top + 11 + 22 * i, name)
    ),
    "</svg>",
    "",
  ].join("\n");
}

const colour = (i: number) => COLOURS[i % COLOURS.length];
const at = (value: number) => String(Number(value.toFixed(1)));
const escaped = (words: string) =>
  words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const text = (x: number, y: number, words: string, anchor = "start") =>
  `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${escaped(words)}</text>`;
