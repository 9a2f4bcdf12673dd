/** Another user's rights on files for this thread: setfsuid(2), which applies to the calling thread only. */

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

/** An ID that no user has: with it the calls change nothing, and return the current ID. */
const NO_ID = 0xffff_ffff;

/**
 * Calls a function with another user's rights on files: the kernel grants this thread's calls only that
 * user's rights, and new files belong to that user.
 *
 * @throws {Error} if this process may not
 */
export function asFileUser<T>(uid: number, gid: number, action: () => T): T {
  const { setfsuid, setfsgid } = libc();
  const [group, user] = [setfsgid(gid), setfsuid(uid)];
  try {
    // Neither call reports a failure.
    if (setfsuid(NO_ID) !== uid || setfsgid(NO_ID) !== gid) {
      throw new Error(`this process may not act as user ${uid}`);
    }
    return action();
  } finally {
    setfsuid(user);
    setfsgid(group);
  }
}
