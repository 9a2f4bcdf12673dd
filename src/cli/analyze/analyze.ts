/** `graft analyze`: what adapters change in the weights of their base. */
import { analysisJson } from "../../analysis/analysis_json.ts";
import { MOST_MATRICES } from "../../analysis/report/pictures.ts";
import { EXIT } from "../../errors.ts";
import { analyze, ANALYZE_PARAMETERS as P } from "../../tasks/analyze.ts";
import { saveAnalysis } from "../../tasks/save_analysis.ts";
import { command } from "../command.ts";
import { boolean, integer, list, text } from "../flags.ts";
import { BASE_TEXT } from "../models/model_text.ts";
import { longWork } from "../terminal/long_work.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { formatAnalysis } from "./analysis_text.ts";

export default command({
  name: "analyze",
  summary: "Show what an adapter changes: ranks, singular values, directions; compare two adapters",
  flags: {
    model: text(BASE_TEXT, { required: true, short: "m", placeholder: "DIR" }),
    adapterPath: list("Folder of the adapter; a second one, after a comma, is compared with it", {
      ...P.adapterPath,
      placeholder: "DIRS",
    }),
    layers: text("Numbers of the layers to analyse, as 0-3,8; all that are adapted if absent", {
      placeholder: "LAYERS",
    }),
    targetModules: list(
      "Modules to analyse, named as for graft train; all adapted ones if absent",
      {
        placeholder: "NAMES",
      },
    ),
    spectra: boolean(
      "Compute the singular values of W and W', which takes most of the time",
      P.spectra,
    ),
    seed: integer("Seed of the random directions", P.seed),
    report: text(
      "Folder for report.html with heat maps and spectra, its pictures (PNG, SVG), and report.json",
      {
        placeholder: "DIR",
      },
    ),
    json: boolean("Print all figures as JSON", { default: false, inFile: false }),
  },
  examples: [
    {
      command: "graft analyze -m ./smollm2-int4 --adapter-path adapters --layers 0-3",
      does: "prints ranks, drift and amplification of each adapted matrix in four layers",
    },
    {
      command: "graft analyze -m ./smollm2-int4 --adapter-path r8,r64 --report r8-r64",
      does: "compares two adapters, with heat maps in r8-r64/report.html",
    },
  ],
  async run({ flags, terminal }) {
    const { json, report, ...input } = flags;
    const show = longWork(terminal);
    using stop = new StopSignal(() => terminal.note("Stopping; again to stop at once"));
    const analysis = await analyze(input, {
      signal: stop.signal,
      onEvent(event) {
        if (event.kind === "adapter note") return terminal.note(event.text);
        const { path, done, total } = event;
        show(`Analysing: ${done} of ${total}, ${path}`, done / total);
      },
    });
    const saved = report === undefined ? undefined : await saveAnalysis(report, analysis);
    if (json) terminal.print(analysisJson(analysis).trimEnd());
    else for (const line of formatAnalysis(analysis)) terminal.print(line);
    if (saved !== undefined) {
      const { page, pictures } = saved;
      terminal.note(`Saved the report in ${page}; its pictures beside it: ${pictures.length}`);
      if (analysis.matrices.length > MOST_MATRICES) {
        terminal.note(
          `Pictures of single matrices are left out, because there are ${analysis.matrices.length}: ` +
            `--layers or --target-modules choose up to ${MOST_MATRICES}`,
        );
      }
    }
    return EXIT.ok;
  },
});
