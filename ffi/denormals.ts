/**
 * Treats denormal numbers, with which processors take many times as long, as zero. Linux with glibc,
 * whose `fenv_t` contains the control register.
 */

const SYMBOLS = {
  // int fegetenv(fenv_t* envp)
  fegetenv: { parameters: ["buffer"], result: "i32" },
  // int fesetenv(const fenv_t* envp)
  fesetenv: { parameters: ["buffer"], result: "i32" },
} as const;

/** Larger than any `fenv_t`. */
const ENVIRONMENT_BYTES = 64;

/** Offset of the register in `fenv_t`, and its bits. */
interface Register {
  readonly offset: number;
  readonly bits: number;
}

const REGISTERS: Readonly<Record<string, Register>> = {
  // MXCSR: flush to zero, denormals are zero
  x86_64: { offset: 28, bits: 0x8000 | 0x0040 },
  // FPCR: flush to zero
  aarch64: { offset: 0, bits: 1 << 24 },
};

/** Whether {@linkcode flushDenormals} is supported here. */
export function canFlushDenormals(): boolean {
  return Deno.build.os === "linux" && Deno.build.arch in REGISTERS;
}

/**
 * Makes the calling thread treat denormal operands and results as zero until it ends: for a thread that
 * runs only kernels.
 *
 * @throws {TypeError} if it is not supported
 */
export function flushDenormals(): void {
  if (!canFlushDenormals()) {
    throw new TypeError(`Cannot flush denormals on ${Deno.build.os} ${Deno.build.arch}`);
  }
  const { offset, bits } = REGISTERS[Deno.build.arch];
  const library = Deno.dlopen("libm.so.6", SYMBOLS);
  const environment = new Uint8Array(ENVIRONMENT_BYTES);
  library.symbols.fegetenv(environment);
  const view = new DataView(environment.buffer);
  view.setUint32(offset, view.getUint32(offset, true) | bits, true);
  library.symbols.fesetenv(environment);
  library.close();
}
