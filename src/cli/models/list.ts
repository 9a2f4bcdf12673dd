/** `graft list`: lists pulled models and the adapter store. */
import { EXIT } from "../../errors.ts";
import { AdapterStore } from "../../hub/adapter_store.ts";
import { type Installed, installedIn } from "../../hub/installed.ts";
import { hubCache } from "../../hub/settings.ts";
import { DEFAULT_MODEL } from "../../model/carried_model.ts";
import { command } from "../command.ts";
import { boolean } from "../flags.ts";
import { formatBytes } from "../terminal/format.ts";
import { adapterJson, formatMetrics, installedJson } from "./pulled_report.ts";
import { printTable } from "../terminal/table.ts";

export default command({
  name: "list",
  summary: "List pulled models and the adapters in graft's store",
  flags: {
    all: boolean("Also models of other tools in the shared cache that graft cannot use", {
      default: false,
    }),
    json: boolean("Print JSON", { default: false }),
  },
  examples: [
    { command: "graft list", does: "names, sizes, variants" },
    { command: "graft list --json", does: "the same for programs, with digests" },
  ],
  run({ flags, terminal }) {
    const installed = installedIn(hubCache()).filter(({ kind }) => flags.all || kind !== "other");
    const adapters = new AdapterStore().list(({ message }) => terminal.note(message));
    if (flags.json) {
      terminal.print(JSON.stringify(
        {
          models: installed.map(installedJson),
          adapters: adapters.map(adapterJson),
        },
        null,
        2,
      ));
      return Promise.resolve(EXIT.ok);
    }
    if (installed.length === 0) {
      terminal.print(
        `No models are pulled: \`graft pull\` gets one; "${DEFAULT_MODEL}" names the embedded model`,
      );
    } else {
      printTable(installed, [
        { heading: "model", cell: ({ repository }) => repository },
        { heading: "revision", cell: revisionOf },
        { heading: "variants", cell: variantsText },
        { heading: "size", cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
        { heading: "changed", cell: ({ modified }) => modified?.toISOString().slice(0, 10) },
      ], terminal);
    }
    if (adapters.length === 0) return Promise.resolve(EXIT.ok);
    terminal.print("");
    printTable(adapters, [
      { heading: "adapter", cell: ({ name }) => name },
      { heading: "digest", cell: ({ record }) => shortDigest(record.digest) },
      { heading: "base", cell: ({ record }) => record.base ?? undefined },
      { heading: "task", cell: ({ record }) => record.task ?? undefined },
      { heading: "metrics", cell: ({ record }) => formatMetrics(record.metrics) },
      { heading: "created", cell: ({ record }) => record.created.slice(0, 10) },
    ], terminal);
    return Promise.resolve(EXIT.ok);
  },
});

const shortDigest = (digest: string) => digest.replace("sha256:", "").slice(0, 12);

function revisionOf({ refs, commit }: Installed): string {
  const short = commit.slice(0, 12);
  return refs.length === 0 ? short : `${refs.join(", ")} (${short})`;
}

function variantsText({ kind, variants }: Installed): string | undefined {
  if (kind === "model") return variants.map(({ name }) => name).join(", ");
  return kind === "adapter" ? "an adapter" : undefined;
}
