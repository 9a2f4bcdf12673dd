/**
 * Access to files by name in an open folder: openat(2) and related calls, without following links. Linux
 * with glibc 2.28 or later, on x86-64 and arm64.
 */
import { cString, readCString } from "./pointer.ts";

const SYMBOLS = {
  // int openat(int dirfd, const char* pathname, int flags, mode_t mode)
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
  // ssize_t read(int fd, void* buf, size_t count)
  read: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // ssize_t pwrite(int fd, const void* buf, size_t count, off_t offset)
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "i64" },
  // int ftruncate(int fd, off_t length)
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  // int fsync(int fd)
  fsync: { parameters: ["i32"], result: "i32" },
  // int flock(int fd, int operation)
  flock: { parameters: ["i32", "i32"], result: "i32" },
  // int mkdirat(int dirfd, const char* pathname, mode_t mode)
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int unlinkat(int dirfd, const char* pathname, int flags)
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  // int renameat(int olddirfd, const char* oldpath, int newdirfd, const char* newpath)
  renameat: { parameters: ["i32", "buffer", "i32", "buffer"], result: "i32" },
  // int symlinkat(const char* target, int newdirfd, const char* linkpath)
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  // ssize_t readlinkat(int dirfd, const char* pathname, char* buf, size_t bufsiz)
  readlinkat: { parameters: ["i32", "buffer", "buffer", "usize"], result: "i64" },
  // int statx(int dirfd, const char* pathname, int flags, unsigned int mask, struct statx* buf)
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  // DIR* fdopendir(int fd)
  fdopendir: { parameters: ["i32"], result: "pointer" },
  // struct dirent* readdir(DIR* dirp)
  readdir: { parameters: ["pointer"], result: "pointer" },
  // int closedir(DIR* dirp)
  closedir: { parameters: ["pointer"], result: "i32" },
  // int* __errno_location(void)
  __errno_location: { parameters: [], result: "pointer" },
  // char* strerror(int errnum)
  strerror: { parameters: ["i32"], result: "pointer" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64 except the flags of open(2).
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const STATX_BYTES = 256;
const LOCK_EX = 2;
const LOCK_NB = 4;
const S_IFMT = 0o170000;

const ARM64 = Deno.build.arch === "aarch64";
const O_NOFOLLOW = ARM64 ? 0o100000 : 0o400000;
const O_DIRECTORY = ARM64 ? 0o40000 : 0o200000;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const O_WRONLY = 1;
const O_CREAT = 0o100;

const PATH_BYTES = 4096;
/** Offset of `d_name` in glibc's `struct dirent` where pointers have 64 bits. */
const D_NAME = 19;
/** Permissions of a new file or folder, before the process's umask. */
const FILE_MODE = 0o666;
const FOLDER_MODE = 0o777;

/** A call of the C library failed. */
export class SystemCallError extends Error {
  override name = "SystemCallError";
  constructor(readonly errno: number) {
    super(readCString(libc().strerror(errno)));
  }
}

export const [ENOENT, EEXIST, ENOTDIR, ELOOP] = [2, 17, 20, 40];
const EINVAL = 22;

/** Returns the result of a call, or throws if it is negative, which means failure. */
function checked<T extends number | bigint>(result: T): T {
  if (result >= 0) return result;
  throw new SystemCallError(new Deno.UnsafePointerView(libc().__errno_location()!).getInt32());
}

/** Opens a folder by its path, following links; close the descriptor with {@linkcode closeFd}. */
export function openFolder(path: string): number {
  return checked(libc().openat(AT_FDCWD, cString(path), O_DIRECTORY | O_CLOEXEC, 0));
}

/** Opens a folder in a folder; fails with ENOTDIR if the name is a link. */
export function openFolderAt(folder: number, name: string): number {
  const flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  return checked(libc().openat(folder, cString(name), flags, 0));
}

/**
 * Opens a file in a folder for reading, or for writing, which creates it; never waits for a pipe's other
 * end, and fails with ELOOP if the name is a link.
 */
export function openFileAt(folder: number, name: string, mode: "read" | "write"): number {
  const flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (mode === "read" ? 0 : O_WRONLY | O_CREAT);
  return checked(libc().openat(folder, cString(name), flags, FILE_MODE));
}

export function closeFd(fd: number): void {
  libc().close(fd);
}

/** Facts about a file from statx(2). */
export interface FileFacts {
  readonly kind: "file" | "folder" | "link" | "pipe" | "socket" | "device";
  readonly uid: number;
  readonly gid: number;
  /** Number of its hard links. */
  readonly links: number;
  readonly sizeBytes: number;
}

const KINDS = new Map<number, FileFacts["kind"]>([
  [0o010000, "pipe"],
  [0o040000, "folder"],
  [0o100000, "file"],
  [0o120000, "link"],
  [0o140000, "socket"],
]);

/** Facts about an entry of a folder, or about the open file itself if the name is empty. */
export function factsAt(folder: number, name: string): FileFacts {
  const buffer = new Uint8Array(STATX_BYTES);
  const flags = AT_SYMLINK_NOFOLLOW | (name === "" ? AT_EMPTY_PATH : 0);
  checked(libc().statx(folder, cString(name), flags, STATX_BASIC_STATS, buffer));
  // struct statx: nlink at 16, uid, gid, mode (16 bits); size at 40.
  const view = new DataView(buffer.buffer);
  return {
    kind: KINDS.get(view.getUint16(28, true) & S_IFMT) ?? "device",
    links: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    sizeBytes: Number(view.getBigUint64(40, true)),
  };
}

/** Reads from the current position; returns 0 at the end of the file. */
export function readFd(fd: number, bytes: Uint8Array<ArrayBuffer>): number {
  return Number(checked(libc().read(fd, bytes, BigInt(bytes.length))));
}

/** Writes all bytes at an offset. */
export function writeFd(fd: number, bytes: Uint8Array<ArrayBuffer>, offset: number): void {
  for (let done = 0; done < bytes.length;) {
    const rest = bytes.subarray(done);
    done += Number(
      checked(libc().pwrite(fd, rest, BigInt(rest.length), BigInt(offset + done))),
    );
  }
}

export function truncateFd(fd: number, sizeBytes: number): void {
  checked(libc().ftruncate(fd, BigInt(sizeBytes)));
}

export function syncFd(fd: number): void {
  checked(libc().fsync(fd));
}

/** Tries to lock an open file exclusively; returns whether it could. Closing the file releases the lock. */
export function lockFd(fd: number): boolean {
  return libc().flock(fd, LOCK_EX | LOCK_NB) === 0;
}

export function makeFolderAt(folder: number, name: string): void {
  checked(libc().mkdirat(folder, cString(name), FOLDER_MODE));
}

/** Removes an entry: an empty folder if `isFolder`, otherwise any other kind. */
export function unlinkAt(folder: number, name: string, isFolder: boolean): void {
  checked(libc().unlinkat(folder, cString(name), isFolder ? AT_REMOVEDIR : 0));
}

export function renameAt(from: number, name: string, to: number, newName: string): void {
  checked(libc().renameat(from, cString(name), to, cString(newName)));
}

export function linkAt(target: string, folder: number, name: string): void {
  checked(libc().symlinkat(cString(target), folder, cString(name)));
}

/** Target of a link. */
export function readLinkAt(folder: number, name: string): string {
  const bytes = new Uint8Array(PATH_BYTES);
  const count = checked(
    libc().readlinkat(folder, cString(name), bytes, BigInt(bytes.length)),
  );
  return new TextDecoder().decode(bytes.subarray(0, Number(count)));
}

/** Names in an open folder, without `.` and `..`. */
export function namesIn(folder: number): string[] {
  const { openat, fdopendir, readdir, closedir, close } = libc();
  // A separate descriptor, because listing moves the position in the folder, and closedir(3) closes it.
  const fd = checked(openat(folder, cString("."), O_DIRECTORY | O_CLOEXEC, 0));
  const listing = fdopendir(fd);
  if (listing === null) {
    close(fd);
    throw new SystemCallError(EINVAL);
  }
  const names: string[] = [];
  try {
    for (let entry = readdir(listing); entry !== null; entry = readdir(listing)) {
      const name = new Deno.UnsafePointerView(entry).getCString(D_NAME);
      if (name !== "." && name !== "..") names.push(name);
    }
  } finally {
    closedir(listing);
  }
  return names;
}
