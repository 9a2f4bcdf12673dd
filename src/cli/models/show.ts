/** `graft show`: all that is known of a pulled model or a stored adapter. */
import { EXIT, UsageError } from "../../errors.ts";
import { AdapterStore, type StoredAdapter } from "../../hub/adapter_store.ts";
import type { Installed } from "../../hub/installed.ts";
import { findNamed } from "../../hub/named.ts";
import { command } from "../command.ts";
import { boolean, text } from "../flags.ts";
import { formatBytes } from "../terminal/format.ts";
import type { Terminal } from "../terminal/output.ts";
import { adapterJson, formatMetrics, installedJson } from "./pulled_report.ts";
import { printTable } from "../terminal/table.ts";

export default command({
  name: "show",
  summary: "Show a pulled model's files or a stored adapter's base, data, metrics and parents",
  operands: "NAME",
  maxOperands: 1,
  flags: {
    kind: text("Which one to show, if both have the name", {
      choices: ["any", "model", "adapter"],
      default: "any",
    }),
    json: boolean("Print JSON", { default: false }),
  },
  examples: [
    { command: "graft show org/name@main", does: "files of a revision with their sizes" },
    { command: "graft show mill --json", does: "an adapter's record" },
  ],
  run({ flags, operands, terminal }) {
    const [name] = operands;
    if (name === undefined) throw new UsageError("graft show needs a name: `graft show NAME`");
    const named = findNamed(name, flags.kind);
    const { revisions } = named;
    const adapter = named.adapter && new AdapterStore().find(named.adapter.name);
    if (flags.json) {
      const models = revisions.map((revision) => ({
        ...installedJson(revision),
        files: revision.files.map(({ path, sizeBytes }) => ({ path, size_bytes: sizeBytes })),
      }));
      terminal.print(
        JSON.stringify({ models, adapters: adapter ? [adapterJson(adapter)] : [] }, null, 2),
      );
    } else if (adapter !== undefined) showAdapter(adapter, terminal);
    else for (const revision of revisions) showRevision(revision, terminal);
    return Promise.resolve(EXIT.ok);
  },
});

function printFields(fields: readonly (readonly [string, string])[], terminal: Terminal): void {
  const width = Math.max(...fields.map(([name]) => name.length));
  for (const [name, value] of fields) terminal.print(`${name.padEnd(width)}  ${value}`);
}

function showRevision(revision: Installed, terminal: Terminal): void {
  const { repository, commit, refs, variants, sizeBytes, place, files } = revision;
  printFields([
    ["model", repository],
    ["commit", commit],
    ["refs", refs.join(", ") || "-"],
    ["variants", variants.map(({ name }) => name).join(", ") || "-"],
    ["size", formatBytes(sizeBytes)],
    ["folder", place.snapshot(commit)],
  ], terminal);
  printTable(files, [
    { heading: "file", cell: ({ path }) => path },
    { heading: "size", cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
  ], terminal);
}

function showAdapter({ name, folder, record }: StoredAdapter, terminal: Terminal): void {
  printFields([
    ["adapter", name],
    ["digest", record.digest],
    ["base", record.base ?? "-"],
    ["base digest", record.base_digest ?? "unknown: the adapter was not made by graft"],
    ["task", record.task ?? "-"],
    ["data digest", record.data_digest ?? "-"],
    ["parents", record.parents.join(", ") || "-"],
    ["metrics", formatMetrics(record.metrics) ?? "-"],
    ["created", record.created],
    ["size", formatBytes(record.size_bytes)],
    ["folder", folder],
  ], terminal);
}
