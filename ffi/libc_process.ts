/** Process settings through the C library. Linux with glibc, on x86-64 and arm64. */

const SYMBOLS = {
  // int prctl(int op, unsigned long arg)
  prctl: { parameters: ["i32", "u64"], result: "i32" },
} as const;

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** Makes the kernel end this process when the thread that started it ends, whatever either is doing then. */
export function endWithParent(): void {
  const library = Deno.dlopen("libc.so.6", SYMBOLS);
  library.symbols.prctl(PR_SET_PDEATHSIG, BigInt(SIGKILL));
  library.close();
}
