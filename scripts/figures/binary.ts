/**
 * Size and start of the compiled binary: `deno run -A scripts/figures/binary.ts [BINARY]`.
 *
 * Prints the seconds (median, fastest, slowest of ten) to the end of `--version`, and to the vector
 * of a sentence by the embedded model; then the same for a very first start, which unpacks ONNX
 * Runtime. The library's copy lies in a folder of its own meanwhile.
 */
import { join } from "@std/path";
import { median } from "../../src/statistics.ts";
import { VERSION } from "../../src/version.ts";
import { processor } from "../../src/system/processor.ts";

const ROUNDS = 10;
const ARCH = Deno.build.arch === "aarch64" ? "arm64" : "x64";
const binary = Deno.realPathSync(Deno.args[0] ?? `dist/graft-${VERSION}-linux-${ARCH}`);
const SENTENCE = ["run", "default", "turn on the light"];

async function seconds(cache: string, args: readonly string[]): Promise<number> {
  const start = performance.now();
  const { success, stderr } = await new Deno.Command(binary, {
    args: [...args],
    env: { GRAFT_CACHE_DIR: cache },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return (performance.now() - start) / 1000;
}

function line(what: string, times: readonly number[]): string {
  const [fastest, slowest] = [Math.min(...times), Math.max(...times)];
  return `${what}: median ${median(times).toFixed(3)} s, ` +
    `fastest ${fastest.toFixed(3)}, slowest ${slowest.toFixed(3)}`;
}

const { name, threads } = processor();
console.log(`${name}, ${threads} threads`);
console.log(`${binary}: ${(Deno.statSync(binary).size / 1e6).toFixed(0)} MB`);
const folder = await Deno.makeTempDir({ prefix: "graft-figures-" });
try {
  const first: number[] = [];
  for (let round = 0; round < 3; round++) {
    first.push(await seconds(join(folder, `${round}`), SENTENCE));
  }
  const cache = join(folder, "0");
  for (const [what, args] of [["--version", ["--version"]], ["sentence", SENTENCE]] as const) {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) times.push(await seconds(cache, args));
    console.log(line(what, times));
  }
  console.log(line("first sentence, unpacking", first));
} finally {
  await Deno.remove(folder, { recursive: true });
}
