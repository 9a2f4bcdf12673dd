/** `graft pull`: a model or an adapter from a hub, a folder or an archive, under a name. */
import { EXIT, UsageError } from "../../errors.ts";
import { pull, type PullResult } from "../../tasks/pull.ts";
import type { PullHubEvent } from "../../tasks/pull_hub.ts";
import { command } from "../command.ts";
import { boolean, list, text } from "../flags.ts";
import { formatBytes } from "../terminal/format.ts";
import type { Terminal } from "../terminal/output.ts";
import { PullProgress } from "./pull_progress.ts";
import { StopSignal } from "../terminal/stop_signal.ts";

const FLAGS = {
  revision: text("Branch, tag or commit of the hub's model; main if absent", {
    placeholder: "NAME",
  }),
  variant: text(
    "Which ONNX model of several, e.g. int8, q4 or its path; the best for the CPU if absent",
    {
      placeholder: "NAME",
    },
  ),
  include: list("Get the files that match these patterns, instead of what a model needs", {
    placeholder: "GLOB",
  }),
  exclude: list("Leave out files that match these patterns", { placeholder: "GLOB" }),
  localDir: text("Write plain files to this folder instead of the shared cache", {
    placeholder: "DIR",
  }),
  name: text("Name for what comes from a folder or an archive; theirs if absent", {
    placeholder: "NAME",
  }),
  json: boolean("Print JSON", { default: false }),
};

export default command({
  name: "pull",
  summary: "Get a model or an adapter from a hub, a folder or a tar, under a name for other verbs",
  operands: "NAME|FOLDER|FILE.tar[.gz]",
  maxOperands: 1,
  flags: FLAGS,
  needs: ["net"],
  examples: [
    {
      command: "graft pull onnx-community/SmolLM2-135M-Instruct-ONNX --variant q4",
      does: "gets the 4-bit model, its tokenizer and configuration into the shared cache",
    },
    {
      command: "graft run onnx-community/SmolLM2-135M-Instruct-ONNX 'Why is the sky blue?'",
      does: "names it wherever a model is asked for",
    },
    { command: "graft pull ./adapters --name mill", does: "keeps an adapter in graft's store" },
    { command: "graft pull model.tar.gz --name mill-model", does: "takes a model from an archive" },
  ],
  async run({ flags: { json, ...flags }, operands, terminal }) {
    const [source] = operands;
    if (source === undefined) {
      throw new UsageError("graft pull needs a name, a folder or a tar: `graft pull org/name`");
    }
    using stop = new StopSignal(() =>
      terminal.note("Stopping; the next `graft pull` goes on from here; again to stop at once")
    );
    const progress = new PullProgress(terminal);
    const pulled = await pull({ ...flags, source }, {
      onEvent: (event) => show(event, progress, terminal),
      signal: stop.signal,
    });
    progress.end();
    if (json) terminal.print(JSON.stringify(toJson(pulled)));
    else for (const line of toLines(pulled, source)) terminal.print(line);
    return EXIT.ok;
  },
});

function show(event: PullHubEvent, progress: PullProgress, terminal: Terminal): void {
  switch (event.kind) {
    case "plan":
      return progress.begin(event.repository, event.plan);
    case "bytes":
      return progress.bytes(event.file, event.done);
    case "file":
      return progress.file(event.file);
    case "waiting":
      return terminal.note(`Another process is getting ${event.file.path}: waiting for it`);
    case "retry":
      return terminal.note(event.text);
  }
}

function toJson(pulled: PullResult): Readonly<Record<string, unknown>> {
  switch (pulled.from) {
    case "hub":
      return {
        name: pulled.name,
        revision: pulled.revision,
        commit: pulled.commit,
        folder: pulled.folder,
        variant: pulled.variant?.name ?? null,
        variants: pulled.variants,
        downloaded_bytes: pulled.missingBytes,
        files: pulled.files.map(({ path, sizeBytes, digest }) => ({
          path,
          size_bytes: sizeBytes,
          [digest.kind === "git" ? "git_sha1" : "sha256"]: digest.hex,
        })),
      };
    case "cache": {
      const { name, revision, commit, folder, variant } = pulled;
      return { name, revision, commit, folder, variant: variant ?? null, downloaded_bytes: 0 };
    }
    case "here": {
      const { name, commit, folder, variants, sizeBytes } = pulled;
      return { name, commit, folder, variants, size_bytes: sizeBytes };
    }
    case "adapter":
      return { name: pulled.name, folder: pulled.adapter.folder, ...pulled.adapter.record };
  }
}

function toLines(pulled: PullResult, source: string): readonly string[] {
  switch (pulled.from) {
    case "hub": {
      const { name, commit, files, missingBytes, folder } = pulled;
      const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const come = missingBytes === 0 ? "all there before" : `${formatBytes(missingBytes)} new`;
      return [
        `Pulled ${name} at ${commit.slice(0, 12)}: ${files.length} files, ${formatBytes(bytes)}, ` +
        come,
        `In ${folder}`,
      ];
    }
    case "cache":
      return [
        `${pulled.name} at ${
          pulled.commit.slice(0, 12)
        } is there; whether the hub has a newer one ` +
        "was not asked, since HF_HUB_OFFLINE is set",
        `In ${pulled.folder}`,
      ];
    case "here": {
      const { name, files, sizeBytes, folder } = pulled;
      return [
        `Pulled ${name} from ${source}: ${files} files, ${formatBytes(sizeBytes)}`,
        `In ${folder}`,
      ];
    }
    case "adapter": {
      const { name, adapter: { record, folder } } = pulled;
      return [`Keeps the adapter ${name}, ${record.digest}`, `In ${folder}`];
    }
  }
}
