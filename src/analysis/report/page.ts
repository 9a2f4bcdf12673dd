/** The report of an analysis as one HTML page: no script, no network, light and dark. */
import type { Analysis } from "../analysis.ts";
import { adaptersSection, driftSection } from "./drift_section.ts";
import { escaped } from "./html.ts";
import { pairSection } from "./pair_section.ts";
import { spectraSection } from "./spectra_section.ts";
import { style } from "./style.ts";

/** The page; its tables have all figures of its pictures, but for those of `report.json`. */
export function reportPage(analysis: Analysis): string {
  const title = `Analysis of ${analysis.adapters.map(({ path }) => path).join(" and ")}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${style()}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<p>On <code>${
    escaped(analysis.model)
  }</code>. The figures are those of sections 7.2 and 7.3 of Hu et
al., "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685); all of them are in
<code>report.json</code>.</p>
${adaptersSection(analysis)}
${driftSection(analysis)}
${pairSection(analysis)}
${spectraSection(analysis)}
</main>
</body>
</html>
`;
}
