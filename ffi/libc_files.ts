/**
 * Access to files through the C library, for those that Deno opens only with all permissions (`/proc`,
 * `/sys`) and those without a name. Linux with glibc, on x86-64 and arm64.
 */
import { cString } from "./pointer.ts";

const SYMBOLS = {
  // int open(const char* pathname, int flags)
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // ssize_t read(int fd, void* buf, size_t count)
  read: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // ssize_t write(int fd, const void* buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // int access(const char* pathname, int mode)
  access: { parameters: ["buffer", "i32"], result: "i32" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
  // int flock(int fd, int operation)
  flock: { parameters: ["i32", "i32"], result: "i32" },
  // int* __errno_location(void)
  __errno_location: { parameters: [], result: "pointer" },
  // int memfd_create(const char* name, unsigned int flags)
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // DIR* opendir(const char* name)
  opendir: { parameters: ["buffer"], result: "pointer" },
  // struct dirent* readdir(DIR* dirp)
  readdir: { parameters: ["pointer"], result: "pointer" },
  // int closedir(DIR* dirp)
  closedir: { parameters: ["pointer"], result: "i32" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const MFD_CLOEXEC = 1;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;
/** Offset of `d_name` in glibc's `struct dirent` where pointers have 64 bits. */
const D_NAME = 19;

const CHUNK_BYTES = 4096;

/** Contents of a kernel file, as text; `undefined` if it cannot be read. */
export function readKernelFile(path: string): string | undefined {
  const { open, read, close } = libc();
  const fd = open(cString(path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return undefined;
  try {
    const decoder = new TextDecoder();
    const chunk = new Uint8Array(CHUNK_BYTES);
    let text = "";
    while (true) {
      const count = Number(read(fd, chunk, BigInt(chunk.length)));
      if (count < 0) return undefined;
      if (count === 0) return text + decoder.decode();
      text += decoder.decode(chunk.subarray(0, count), { stream: true });
    }
  } finally {
    close(fd);
  }
}

/** Writes a kernel file in one call; returns whether the kernel accepted the text. */
export function writeKernelFile(path: string, text: string): boolean {
  const { open, write, close } = libc();
  const fd = open(cString(path), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  try {
    const bytes = new TextEncoder().encode(text);
    return Number(write(fd, bytes, BigInt(bytes.length))) === bytes.length;
  } finally {
    close(fd);
  }
}

/** `F_OK`, and `R_OK | W_OK`. */
const ACCESS = { exists: 0, usable: 6 } as const;

/** Whether a path exists, or may be read and written by this user; devices included. */
export function kernelAccess(path: string, what: keyof typeof ACCESS): boolean {
  return libc().access(cString(path), ACCESS[what]) === 0;
}

/** Names in a kernel folder, without `.` and `..`; none if it cannot be listed. */
export function listKernelFolder(path: string): string[] {
  const { opendir, readdir, closedir } = libc();
  const folder = opendir(cString(path));
  if (folder === null) return [];
  const names: string[] = [];
  try {
    for (let entry = readdir(folder); entry !== null; entry = readdir(folder)) {
      const name = new Deno.UnsafePointerView(entry).getCString(D_NAME);
      if (name !== "." && name !== "..") names.push(name);
    }
  } finally {
    closedir(folder);
  }
  return names;
}

/** Result of trying to lock a file; a lock is released on disposal or with the process. */
export type LockTry = Disposable | "taken" | "impossible";

/** Locks a file or folder by `flock` without waiting, exclusively or shared. */
export function tryFlock(path: string, exclusive: boolean): LockTry {
  const { open, flock, close, __errno_location } = libc();
  const fd = open(cString(path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return "impossible";
  if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) === 0) {
    let held = true;
    return {
      [Symbol.dispose]() {
        // Only once: the descriptor's number may be reused afterwards.
        if (held) close(fd);
        held = false;
      },
    };
  }
  const errno = new Deno.UnsafePointerView(__errno_location()!).getInt32();
  close(fd);
  return errno === EWOULDBLOCK ? "taken" : "impossible";
}

/**
 * Writes bytes to a file without a name, in memory, until the process ends.
 *
 * @param name its name in `/proc/PID/maps`
 * @returns a path by which this process can open it; `undefined` if the system gives none
 */
export function fileInMemory(name: string, bytes: Uint8Array<ArrayBuffer>): string | undefined {
  const { memfd_create, write, close } = libc();
  const fd = memfd_create(cString(name), MFD_CLOEXEC);
  if (fd < 0) return undefined;
  for (let done = 0; done < bytes.length;) {
    const rest = bytes.subarray(done);
    const count = Number(write(fd, rest, BigInt(rest.length)));
    if (count <= 0) {
      close(fd);
      return undefined;
    }
    done += count;
  }
  return `/proc/self/fd/${fd}`;
}
