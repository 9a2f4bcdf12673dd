/** The models that merges are measured on: those of ../shared, and what is made of them in other forms. */
import { basename, join } from "@std/path";
import { computeMatrices, planMerge } from "../../src/lora/merge/mod.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { StagedDirectory } from "../../src/model/staged_directory.ts";
import { writeModel } from "../../src/model/write_model.ts";
import { isFolder } from "../../src/system/folders.ts";
import { openMapped } from "../../src/system/mapped_file.ts";
import { python } from "../../tests/helpers/requirements.ts";
import { graft, run } from "./children.ts";

/** Makes a model in a folder of its own from the family's in floats. */
type Maker = (floats: string, target: string) => Promise<unknown>;

/** Arguments of `graft quantize`. */
const quantized = (...how: string[]): Maker => (floats, target) =>
  graft("quantize", floats, "--head", "--save-path", target, ...how);

/** A form of `scripts/quantize_blocks.py`. */
const byRuntime = (form: string, blockSize: number): Maker => async (floats, target) => {
  const model = findModelFile(floats);
  const unfinished = `${target}.part`;
  Deno.mkdirSync(unfinished, { recursive: true });
  for (const { name, isFile } of Deno.readDirSync(floats)) {
    if (!isFile || /\.onnx([._]data)?$/.test(name)) continue;
    Deno.copyFileSync(join(floats, name), join(unfinished, name));
  }
  const written = join(unfinished, basename(model));
  await run(python(), ["scripts/quantize_blocks.py", model, written, form, String(blockSize)]);
  Deno.renameSync(unfinished, target);
};

/** Whose models there are, and in which forms: `stored` is the one of ../shared. */
const FAMILIES = {
  smollm2: {
    folder: "smollm2-135m-instruct-int4",
    stored: "int4-32",
    made: {
      "int4-128-zero-points": byRuntime("int4-zero-points", 128),
      "qdq-int4": quantized("--bits", "4", "--block-size", "32", "--use-qdq"),
      "nf4": byRuntime("nf4", 64),
    },
  },
  minilm: {
    folder: "all-minilm-l6-v2-int8",
    stored: "int8",
    made: { "int4": quantized("--bits", "4", "--block-size", "32") },
  },
} as const satisfies Record<
  string,
  { folder: string; stored: string; made: Readonly<Record<string, Maker>> }
>;

export type Family = keyof typeof FAMILIES;

/** The forms of a family's model, the one of ../shared first. */
export const formsOf = (family: Family): readonly string[] => {
  const { stored, made } = FAMILIES[family];
  return [stored, ...Object.keys(made)];
};

/** Models by family and form, each made when it is first asked for. */
export class MergeForms {
  readonly #making = new Map<string, Promise<string>>();

  /**
   * @param shared holds the models' folders
   * @param folder to make others in, which exists, a gigabyte in all; what is there is not made anew
   */
  constructor(readonly shared: string, readonly folder: string) {}

  /** Folder of a model. */
  model(family: Family, form: string): Promise<string> {
    const { stored, made } = FAMILIES[family];
    if (form === stored) return Promise.resolve(this.#shared(family));
    const maker: Maker = made[form as keyof typeof made];
    return this.#once(`${family}-${form}`, async (target) => {
      await maker(await this.#floats(family), target);
    });
  }

  #floats(family: Family): Promise<string> {
    return this.#once(`${family}-floats`, (target) => writeFloats(this.#shared(family), target));
  }

  #shared(family: Family): string {
    return join(this.shared, "models", FAMILIES[family].folder);
  }

  #once(name: string, make: (target: string) => Promise<unknown>): Promise<string> {
    const target = join(this.folder, name);
    const making = this.#making.get(name) ??
      (isFolder(target) ? Promise.resolve(target) : make(target).then(() => target));
    this.#making.set(name, making);
    return making;
  }
}

/** A model with all its linear layers in floats, as `graft merge --dequantize` stores them. */
async function writeFloats(source: string, target: string): Promise<void> {
  const path = findModelFile(source);
  using base = loadOnnx(path, openMapped);
  const plan = planMerge(base.model, [], "float");
  using staged = new StagedDirectory(target);
  await writeModel(
    staged,
    { path, model: base.model },
    plan.model,
    (write) => computeMatrices(plan, write),
  );
  staged.commit(false);
}
