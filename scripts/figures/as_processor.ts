/** Lets what a script starts see another processor of this architecture, at full speed. */
import { thisHost } from "../campaigns/processors/host.ts";
import { KINDS, wayTo } from "../campaigns/processors/ways.ts";

/** What PyTorch and the libraries that it multiplies with read, by kind of processor. */
const PYTORCH: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "avx512-vnni": { ONEDNN_MAX_CPU_ISA: "AVX512_CORE_VNNI" },
  "avx2": {
    ATEN_CPU_CAPABILITY: "avx2",
    MKL_ENABLE_INSTRUCTIONS: "AVX2",
    ONEDNN_MAX_CPU_ISA: "AVX2",
  },
};

/**
 * Sets the environment that processes started from here on inherit.
 *
 * @param name of a kind of x64
 * @param folder where what is compiled lies, until the caller removes it
 * @throws {Error} where nothing can be hidden from them
 */
export function startAsProcessor(name: string, folder: string): void {
  if (!Object.hasOwn(PYTORCH, name)) {
    throw new Error(`There is no processor ${name}; there are ${Object.keys(PYTORCH).join()}`);
  }
  const way = wayTo({ ...KINDS[name], emulated: undefined }, thisHost(folder));
  if ("missing" in way) throw new Error(`Nothing runs as on ${name}: ${way.missing}`);
  for (const [key, value] of Object.entries({ ...way.env, ...PYTORCH[name] })) {
    Deno.env.set(key, value);
  }
}
