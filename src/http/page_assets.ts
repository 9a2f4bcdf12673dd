/**
 * The files of the page that `graft serve` shows, by the path that a browser asks for. Nothing else is
 * sent: no path of a request reaches the disk.
 */
import { join } from "@std/path";
import { CARRIED, carriedPath } from "../system/embedded.ts";

/** A file as it is sent. */
export interface PageAsset {
  readonly type: string;
  readonly text: string;
}

/** The page itself. */
const INDEX = "/";
const OWN = "src/http/page";
const PACKAGES = "node_modules";

/** In the order of the page. */
const STYLES = ["colours", "base", "frame", "controls", "parts", "tables"]
  .map((name) => `style/${name}.css`);

/** The page's scripts. */
const SCRIPTS = [
  "adapters/adapter_table.js",
  "adapters/adapters_view.js",
  "adapters/answers_text.js",
  "adapters/changes.js",
  "adapters/load_form.js",
  "adapters/mix.js",
  "app.js",
  "data/data_view.js",
  "data/file_actions.js",
  "data/row_store.js",
  "data/rows.js",
  "data/rows_table.js",
  "data/start_job.js",
  "jobs/event_list.js",
  "jobs/job_view.js",
  "jobs/jobs_view.js",
  "jobs/training_series.js",
  "key_form.js",
  "main.js",
  "playground/answer_column.js",
  "playground/answers.js",
  "playground/choices.js",
  "playground/cosine.js",
  "playground/draft.js",
  "playground/encoder_playgrounds.js",
  "playground/playground_view.js",
  "playground/question_settings.js",
  "server/figures.js",
  "server/server_state.js",
  "server/server_view.js",
  "server/status_line.js",
  "shared/api.js",
  "shared/chart.js",
  "shared/chart_table.js",
  "shared/event_parser.js",
  "shared/format.js",
  "shared/html.js",
  "shared/poll.js",
  "shared/prometheus.js",
  "shared/route.js",
  "shared/spread.js",
  "shared/status.js",
  "shared/store.js",
  "shared/terms.js",
];

/** Path of each file from the root of the checkout, by the path in a request. */
export const PAGE_FILES: ReadonlyMap<string, string> = new Map([
  [INDEX, `${OWN}/index.html`],
  ...["icon.svg", ...STYLES, ...SCRIPTS].map((name) =>
    [`/page/${name}`, `${OWN}/${name}`] as const
  ),
  ["/page/lib/preact.js", `${PACKAGES}/preact/dist/preact.mjs`],
  ["/page/lib/hooks.js", `${PACKAGES}/preact/hooks/dist/hooks.mjs`],
  ["/page/lib/htm.js", `${PACKAGES}/htm/dist/htm.module.js`],
  ["/page/lib/uplot.js", `${PACKAGES}/uplot/dist/uPlot.esm.js`],
  ["/page/lib/uplot.css", `${PACKAGES}/uplot/dist/uPlot.min.css`],
]);

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** Names of the npm packages whose files the page has. */
export const PAGE_PACKAGES: readonly string[] = [
  ...new Set(
    [...PAGE_FILES.values()].filter((file) => file.startsWith(`${PACKAGES}/`))
      .map((file) => file.split("/")[1]),
  ),
];

/**
 * The text of each file of a checkout, by its path in a request.
 *
 * @param root of the checkout
 */
export function readPageFiles(root: string): Record<string, string> {
  return Object.fromEntries(
    Array.from(PAGE_FILES, ([path, file]) => [path, Deno.readTextFileSync(join(root, file))]),
  );
}

/** The files, from the checkout or from the binary, by their path in a request. */
export function pageAssets(): ReadonlyMap<string, PageAsset> {
  const texts: Record<string, string> = Deno.build.standalone
    ? JSON.parse(Deno.readTextFileSync(carriedPath(CARRIED.page)))
    : readPageFiles(carriedPath());
  return new Map(
    Object.entries(texts).map(([path, text]) => {
      const extension = path === INDEX ? "html" : path.slice(path.lastIndexOf(".") + 1);
      return [path, { type: TYPES[extension], text }];
    }),
  );
}
