/**
 * Size and start of the compiled binary: `deno run -A scripts/figures/binary.ts [BINARY]`.
 *
 * Prints the seconds (median, fastest, slowest of ten) to the end of `--version`, and to the vector
 * of a sentence by the embedded model; then the same for a very first start, which unpacks ONNX
 * Runtime. The library's copy lies in a folder of its own meanwhile.
 */
import { processor } from "../../src/system/processor.ts";
import { VERSION } from "../../src/version.ts";
import { native } from "../../tests/helpers/binary.ts";
import { measureStarts, spread } from "./starts.ts";

const ARCH = Deno.build.arch === "aarch64" ? "arm64" : "x64";
const binary = native(Deno.args[0] ?? `dist/graft-${VERSION}-linux-${ARCH}`);

const { name, threads } = processor();
console.log(`${name}, ${threads} threads`);
console.log(`${binary.path}: ${(Deno.statSync(binary.path).size / 1e6).toFixed(0)} MB`);
const starts = await measureStarts(binary, { each: 10, first: 3 });
console.log(`--version: ${spread(starts.version)}`);
console.log(`sentence: ${spread(starts.sentence)}`);
console.log(`first sentence, unpacking: ${spread(starts.first)}`);
