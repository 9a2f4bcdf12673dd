/** Curves, with their last values and a table for those who do not see them. */
import { useEffect, useId, useRef } from "preact/hooks";
import uPlot from "uplot";
import { ChartTable } from "./chart_table.js";
import { html } from "./html.js";

const HEIGHT = 220;
/** Variables of the style sheet, one for each curve. */
const COLOURS = ["--curve-1", "--curve-2", "--curve-3"];
/** Dashes, so that curves can be told apart without their colours. */
const DASHES = [[], [6, 4], [2, 3]];
/** Points up to which each one is marked: a single one is no line. */
const MARKED = 30;

/**
 * @typedef {object} Curve
 * @property {string} label
 * @property {readonly (number | null)[]} values one for each x
 *
 * @typedef {object} ChartProps
 * @property {string} title
 * @property {string} xLabel
 * @property {readonly number[]} x ascending
 * @property {readonly Curve[]} series the same ones each time
 * @property {(value: number) => string} format
 * @property {(value: number) => string} [formatTick] on the axis; default: as elsewhere
 * @property {(x: number) => string} [formatX]
 * @property {boolean} [fromZero] whether the axis begins there; default false: at the least value
 */

/** @param {ChartProps} props */
export function Chart(props) {
  const { title, x, series, format } = props;
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | undefined} */ (undefined));
  const id = useId();
  useEffect(() => {
    const element = /** @type {HTMLDivElement} */ (place.current);
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(props, element), dataOf(props), element);
    };
    draw();
    const resized = new ResizeObserver(() => {
      plot.current?.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    resized.observe(element);
    // Curves are drawn in the colours of the moment.
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [title]);
  useEffect(() => plot.current?.setData(dataOf(props)), [x, ...series.map(({ values }) => values)]);
  const lasts = series.flatMap(({ label, values }) => {
    const last = values.findLast((value) => value !== null);
    return last === undefined || last === null ? [] : [`${label} ${format(last)}`];
  });
  return html`
    <figure class="chart" aria-labelledby=${id}>
      <figcaption>
        <h3 id=${id}>${title}</h3>
        <p class="quiet">${lasts.length === 0 ? "No figures yet" : `Last: ${lasts.join(", ")}`}</p>
      </figcaption>
      <div ref=${place} class="plot" aria-hidden="true"></div>
      <${ChartTable} ...${props} />
    </figure>
  `;
}

/** @param {ChartProps} props */
const dataOf = (
  { x, series },
) => /** @type {uPlot.AlignedData} */ ([x, ...series.map(({ values }) => values)]);

/**
 * @param {ChartProps} props
 * @param {HTMLElement} element
 * @returns {uPlot.Options}
 */
function optionsOf({ xLabel, series, format, formatTick = format, formatX, fromZero }, element) {
  const style = getComputedStyle(element);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const font = `12px ${style.fontFamily}`;
  const axis = {
    stroke: colour("--quiet"),
    font,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    scales: {
      x: { time: false },
      y: fromZero === true ? { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } : {},
    },
    axes: [
      {
        ...axis,
        ...(formatX === undefined
          ? {}
          : { values: (_, ticks) => ticks.map((tick) => formatX(tick)) }),
      },
      { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => formatTick(tick)) },
    ],
    series: [
      { label: xLabel, value: (_, x) => x === null ? "" : formatX?.(x) ?? `${x}` },
      ...series.map(({ label }, i) => ({
        label,
        stroke: colour(COLOURS[i]),
        dash: DASHES[i],
        width: 2,
        spanGaps: true,
        points: { show: (/** @type {uPlot} */ plot) => plot.data[0].length <= MARKED, size: 5 },
        value: (/** @type {uPlot} */ _, /** @type {number | null} */ value) =>
          value === null ? "" : format(value),
      })),
    ],
    cursor: { drag: { x: false, y: false } },
  };
}
