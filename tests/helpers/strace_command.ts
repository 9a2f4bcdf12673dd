/** How tests call strace: it follows threads and children. */

/** The kernel stops them only at the calls that are traced: stopped at each call, graft takes twice its time. */
export const STRACE = ["strace", "-f", "--seccomp-bpf"] as const;

/** For `inject=…:signal=…`: where the kernel's filter stops a call, ptrace(2) drops the signal. */
export const SIGNALLING_STRACE = ["strace", "-f"] as const;
