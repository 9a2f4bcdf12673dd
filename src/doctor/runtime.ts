/** Findings on ONNX Runtime: the library, its providers, and whether it computes. */
import { RuntimeFailure } from "../errors.ts";
import { float32, toNumbers } from "../graph/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { inferTraining, TRAINING_OPSETS } from "../ops/registry.ts";
import { createOrtRunner } from "../runtime/ort_runner.ts";
import type { Runner } from "../runtime/runner.ts";
import { saturates } from "../runtime/saturates.ts";
import { PRECISION } from "../runtime/signed_products.ts";
import { asFlag } from "../config/parameter.ts";
import { whatToDo } from "../runtime/provider_failure.ts";
import { inspectLibrary, type LibraryState } from "../runtime/providers.ts";
import type { Finding } from "./finding.ts";

/** @param hasGpu whether a driver shows a GPU, without which GPU providers are useless */
export function libraryFindings(
  { path, version, providers }: LibraryState,
  hasGpu: boolean,
): readonly Finding[] {
  return [
    { id: "ort.library", level: "ok", what: `ONNX Runtime ${version}: ${path}` },
    ...providers.map(({ name, state, failure }): Finding => {
      const id = `ort.provider.${name}`;
      if (state === "loads") return { id, level: "ok", what: `${name} loads` };
      if (state === "untried") {
        return {
          id,
          level: "ok",
          what: `${name} is in this build, for --ep; it was not tried now`,
        };
      }
      const what = `${name} does not load: ${failure}`;
      return hasGpu
        ? {
          id,
          level: "warning",
          what: what + whatToDo(failure ?? "", asFlag),
          advice: "until then the processor is used; docs/jetson.md names the builds for a Jetson",
        }
        : { id, level: "ok", what: `${name} is not used: there is no NVIDIA GPU` };
    }),
  ];
}

/** Opens the library, tries its providers and computes a product. */
export async function runtimeFindings(
  ortLib: string | undefined,
  hasGpu: boolean,
): Promise<readonly Finding[]> {
  const notes: string[] = [];
  try {
    const library = inspectLibrary(ortLib, (line) => notes.push(line));
    return [
      ...libraryFindings(library, hasGpu),
      ...notes.map((what): Finding => ({ id: "ort.unpacked", level: "hint", what })),
      ...await computingFindings(ortLib),
    ];
  } catch (error) {
    if (!(error instanceof RuntimeFailure)) throw error;
    return [{ id: "ort.library", level: "problem", what: error.message }];
  }
}

async function computingFindings(ortLib: string | undefined): Promise<readonly Finding[]> {
  using runner = createOrtRunner({ ortLib });
  const computing = await computingFinding(runner);
  return computing.level === "ok" && await saturates(runner, "uint8", "int8")
    ? [computing, SATURATING]
    : [computing];
}

const SATURATING: Finding = {
  id: "ort.saturates",
  level: "hint",
  what: "ONNX Runtime's 8-bit products saturate on this processor: graft multiplies by unsigned " +
    "weights instead",
  advice: "other programs that run int8 models here need the session option " +
    `${PRECISION}=1, or models quantised with reduce_range`,
};

/**
 * Checks that 3·5 + 4·6 is computed correctly: a library that loads may still have no kernels for this
 * processor.
 */
async function computingFinding(runner: Runner): Promise<Finding> {
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [1, 2]);
  const y = b.op("MatMul", ["x", b.constant(float32([2, 1], [3, 4]))]);
  using executable = await runner.compile({
    irVersion: 8,
    opsets: TRAINING_OPSETS,
    graph: b.build("doctor", [y]),
    metadata: {},
  });
  using x = runner.upload(float32([1, 2], [5, 6]));
  using product = (await executable.run({ x }))[y];
  const [found] = toNumbers(product.read());
  return found === 39 ? { id: "ort.computes", level: "ok", what: "ONNX Runtime computes" } : {
    id: "ort.computes",
    level: "problem",
    what: `ONNX Runtime computes 3·5 + 4·6 as ${found}`,
    advice: "another build of ONNX Runtime for this processor: --ort-lib names it",
  };
}
