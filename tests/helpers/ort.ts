/** What tests that run ONNX Runtime share: tiny models, and the oldest supported library. */
import { exists } from "../../src/system/durable_files.ts";
import type { DataType } from "../../src/graph/dtype.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Attribute, Dim, Model } from "../../src/graph/types.ts";

/** A value's type and shape, e.g. `["float32", ["n", 4]]`. */
export type Typed = readonly [dtype: DataType, shape: readonly Dim[]];

/** A node, e.g. `["Add", ["x", "y"], ["z"]]`; a domain goes before the operator: `"com.microsoft.Gelu"`. */
export type TinyNode = readonly [
  operator: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes?: Readonly<Record<string, Attribute>>,
];

/** Makes a model of a few nodes at opset 21. */
export function tinyModel(spec: {
  readonly inputs: Readonly<Record<string, Typed>>;
  readonly outputs: Readonly<Record<string, Typed>>;
  readonly nodes: readonly TinyNode[];
  readonly initializers?: Readonly<Record<string, Tensor>>;
  readonly metadata?: Readonly<Record<string, string>>;
}): Model {
  const values = (typed: Readonly<Record<string, Typed>>) =>
    Object.entries(typed).map(([name, [dtype, shape]]) => ({ name, type: { dtype, shape } }));
  return {
    irVersion: 10,
    opsets: { "": 21, "com.microsoft": 1 },
    metadata: spec.metadata ?? {},
    graph: {
      name: "tiny",
      inputs: values(spec.inputs),
      outputs: values(spec.outputs),
      initializers: new Map(Object.entries(spec.initializers ?? {})),
      valueInfo: new Map(),
      nodes: spec.nodes.map(([operator, inputs, outputs, attributes = {}], i) => {
        const dot = operator.lastIndexOf(".");
        return {
          name: `node${i}`,
          opType: operator.slice(dot + 1),
          domain: operator.slice(0, Math.max(0, dot)),
          inputs,
          outputs,
          attributes,
        };
      }),
    },
  };
}

/** The release that graft states as its lowest, as npm has it. */
const OLDEST = "1.18.0";

/**
 * Path of the oldest supported library. It is not among the project's dependencies, so that users
 * need not download it: the first test that asks fetches it into Deno's cache.
 *
 * @returns the path, or why there is none
 */
export async function oldestOrt(): Promise<{ path: string } | { skipped: string }> {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const deno = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: Deno.env.get("TMPDIR") ?? "/tmp",
      stdout: "piped",
      stderr: "piped",
    }).output();
    return { code, out: new TextDecoder().decode(code === 0 ? stdout : stderr).trim() };
  };
  const info = await deno("info", "--json", "--no-config");
  const { npmCache } = JSON.parse(info.out);
  // The cache has a folder for each registry.
  const inPackage =
    `onnxruntime-node/${OLDEST}/bin/napi-v3/linux/${arch}/libonnxruntime.so.${OLDEST}`;
  const find = () => {
    const registries = exists(npmCache) ? [...Deno.readDirSync(npmCache)] : [];
    return registries.map(({ name }) => `${npmCache}/${name}/${inPackage}`).find(exists);
  };
  let path = find();
  if (path === undefined) {
    const cached = await deno(
      "cache",
      "--no-config",
      "--no-lock",
      "--node-modules-dir=none",
      `npm:onnxruntime-node@${OLDEST}`,
    );
    path = find();
    if (path === undefined) {
      return { skipped: `onnxruntime-node ${OLDEST} cannot be fetched from npm: ${cached.out}` };
    }
  }
  return { path };
}
