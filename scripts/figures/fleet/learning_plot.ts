/** A plot of accuracy by rounds as SVG: a line for each way. */

/** A line of the plot. */
export interface Curve {
  readonly name: string;
  /** Accuracy by round; a single one is drawn as a level. */
  readonly points: readonly (readonly [round: number, accuracy: number])[];
}

const [WIDTH, HEIGHT] = [760, 380];
const FRAME = { left: 64, right: 210, top: 24, bottom: 48 };
const COLOURS = ["#555555", "#1b6ca8", "#c0392b", "#3aa17e", "#d98e04", "#7d5ba6"];
const STEP = 20;

/** The picture; its scale goes from 0 to 100%. */
export function learningPlot(curves: readonly Curve[]): string {
  const rounds = Math.max(...curves.flatMap(({ points }) => points.map(([round]) => round)));
  const [right, bottom] = [WIDTH - FRAME.right, HEIGHT - FRAME.bottom];
  const x = (round: number) => at(FRAME.left + (right - FRAME.left) * round / rounds);
  const y = (accuracy: number) => at(bottom - (bottom - FRAME.top) * accuracy);
  const every = Math.max(1, Math.ceil(rounds / 10));
  const ticks = Array.from({ length: Math.floor(rounds / every) + 1 }, (_, i) => i * every);
  const levels = Array.from({ length: 100 / STEP + 1 }, (_, i) => i * STEP);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    "<title>Accuracy on test rows by round</title>",
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...levels.map((percent) =>
      `<path d="M${FRAME.left} ${y(percent / 100)}H${right}" stroke="${
        percent === 0 ? "#333333" : "#dddddd"
      }"/>` + text(FRAME.left - 8, y(percent / 100) + 4, `${percent}%`, "end")
    ),
    ...ticks.map((round) => text(x(round), bottom + 18, `${round}`, "middle")),
    text((FRAME.left + right) / 2, HEIGHT - 8, "round", "middle"),
    ...curves.map(({ name, points }, i) => {
      const path = points.length === 1
        ? `M${FRAME.left} ${y(points[0][1])}H${right}`
        : `M${points.map(([round, accuracy]) => `${x(round)} ${y(accuracy)}`).join("L")}`;
      const dashes = points.length === 1 ? ' stroke-dasharray="5 4"' : "";
      return `<path d="${path}" fill="none" stroke="${COLOURS[i]}" stroke-width="2"${dashes}>` +
        `<title>${name}</title></path>`;
    }),
    ...curves.map(({ name }, i) =>
      `<path d="M${right + 16} ${FRAME.top + 6 + 22 * i}h16" stroke="${
        COLOURS[i]
      }" stroke-width="2"/>` + text(right + 38, FRAME.top + 10 + 22 * i, name)
    ),
    "</svg>",
    "",
  ].join("\n");
}

const at = (pixels: number) => Number(pixels.toFixed(1));

const text = (x: number, y: number, content: string, anchor = "start") =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222222">${content}</text>`;
