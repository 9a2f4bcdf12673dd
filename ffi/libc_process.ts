/** Process settings through the C library. Linux with glibc, on x86-64 and arm64. */

const SYMBOLS = {
  // int prctl(int op, unsigned long arg)
  prctl: { parameters: ["i32", "u64"], result: "i32" },
  // sighandler_t signal(int signum, sighandler_t handler)
  signal: { parameters: ["i32", "usize"], result: "usize" },
} as const;

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const SIGUSR1 = 10;
const SIG_IGN = 1n;

/** Makes the kernel end this process when the thread that started it ends, whatever either is doing then. */
export function endWithParent(): void {
  const library = Deno.dlopen("libc.so.6", SYMBOLS);
  library.symbols.prctl(PR_SET_PDEATHSIG, BigInt(SIGKILL));
  library.close();
}

/** Ignores SIGUSR1, at which Deno opens its debugger, and which MPICH's launcher sends if a process has died. */
export function ignoreUserSignal(): void {
  const library = Deno.dlopen("libc.so.6", SYMBOLS);
  library.symbols.signal(SIGUSR1, SIG_IGN);
  library.close();
}
