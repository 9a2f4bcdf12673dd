/** `graft export`: adapters as ONNX Runtime's own files, and a model that takes them. */
import { EXIT } from "../../errors.ts";
import { EXPORT_PARAMETERS as P, exportAdapters } from "../../tasks/export.ts";
import { command } from "../command.ts";
import { boolean, list, text } from "../flags.ts";
import { BASE_TEXT } from "../models/model_text.ts";

export default command({
  name: "export",
  summary: "Write adapters as .onnx_adapter files, and a model that ONNX Runtime switches them on",
  flags: {
    model: text(BASE_TEXT, { required: true, short: "m", placeholder: "DIR" }),
    adapterPath: list("Folder of the adapter; several, with commas, become a file each", {
      ...P.adapterPath,
      placeholder: "DIR",
    }),
    savePath: text("Folder to write", { ...P.savePath, placeholder: "DIR" }),
    force: boolean("Replace --save-path", P.force),
  },
  examples: [
    {
      command: "graft export -m ./smollm2-int4 --adapter-path lamp,mill --save-path switched",
      does: "writes switched/model.onnx, switched/lamp.onnx_adapter and switched/mill.onnx_adapter",
    },
  ],
  async run({ flags, terminal }) {
    const { adapters } = await exportAdapters(flags, {
      onEvent: ({ text }) => terminal.note(text),
    });
    terminal.print(`Saved in ${flags.savePath}: the model, and ${adapters.join(", ")}`);
    return EXIT.ok;
  },
});
