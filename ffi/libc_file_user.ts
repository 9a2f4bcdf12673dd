/** Another user's rights on files, for this thread: setfsuid(2), which the C library leaves to each thread. */

const SYMBOLS = {
  // int setfsuid(uid_t fsuid)
  setfsuid: { parameters: ["u32"], result: "u32" },
  // int setfsgid(gid_t fsgid)
  setfsgid: { parameters: ["u32"], result: "u32" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

/** An ID that no user has: the calls change nothing for it, and tell who it is. */
const NO_ID = 0xffff_ffff;

/**
 * Does something with files as another user: the kernel grants this thread's calls that user's
 * rights alone, and what they make is that user's.
 *
 * @throws {Error} where this process may not
 */
export function asFileUser<T>(uid: number, gid: number, action: () => T): T {
  const { setfsuid, setfsgid } = libc();
  const [group, user] = [setfsgid(gid), setfsuid(uid)];
  try {
    // Neither call tells a failure.
    if (setfsuid(NO_ID) !== uid || setfsgid(NO_ID) !== gid) {
      throw new Error(`this process may not act as user ${uid}`);
    }
    return action();
  } finally {
    setfsuid(user);
    setfsgid(group);
  }
}
