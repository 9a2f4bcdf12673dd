/** Users at the other end of this process's unix sockets: SO_PEERCRED, see unix(7). Linux with glibc. */
import { listKernelFolder } from "./libc_files.ts";

const SYMBOLS = {
  // int getsockname(int sockfd, struct sockaddr* addr, socklen_t* addrlen)
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int getsockopt(int sockfd, int level, int optname, void* optval, socklen_t* optlen)
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // int statx(int dirfd, const char* pathname, int flags, unsigned int mask, struct statx* buf)
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const AF_UNIX = 1;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const AT_EMPTY_PATH = 0x1000;
const STATX_INO = 0x100;
const STATX_BYTES = 256;
/** Offset of the inode in `struct statx`. */
const INODE = 32;
/** Bytes of `struct sockaddr_un`, and of `struct ucred`: pid, uid, gid. */
const ADDRESS_BYTES = 110;
const CREDENTIAL_BYTES = 12;

/** Open descriptors of this process with the inodes of their files. */
export function openInodes(): Map<number, number> {
  const found = new Map<number, number>();
  for (const name of listKernelFolder("/proc/self/fd")) {
    const inode = inodeOf(Number(name));
    if (inode !== undefined) found.set(Number(name), inode);
  }
  return found;
}

/** The user at the other end of a unix socket that was bound to a path; `undefined` for anything else. */
export function peerOf(fd: number, path: string): number | undefined {
  if (socketPath(fd) !== path) return undefined;
  const credential = new Uint32Array(CREDENTIAL_BYTES / 4);
  const size = bytesOf(Uint32Array.of(CREDENTIAL_BYTES));
  const { getsockopt } = libc();
  const failed = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytesOf(credential), size) !== 0;
  return failed ? undefined : credential[1];
}

// Allocated once, because all descriptors are examined for every client.
const EMPTY_PATH = new Uint8Array(1);
const facts = new Uint8Array(STATX_BYTES);
const words = new DataView(facts.buffer);

function inodeOf(fd: number): number | undefined {
  if (libc().statx(fd, EMPTY_PATH, AT_EMPTY_PATH, STATX_INO, facts) !== 0) return undefined;
  return Number(words.getBigUint64(INODE, true));
}

/** The path to which a unix socket is bound; `undefined` if it is not one. */
function socketPath(fd: number): string | undefined {
  const address = new Uint8Array(ADDRESS_BYTES);
  const size = Uint32Array.of(ADDRESS_BYTES);
  if (libc().getsockname(fd, address, bytesOf(size)) !== 0) return undefined;
  if (new DataView(address.buffer).getUint16(0, true) !== AF_UNIX) return undefined;
  const end = address.indexOf(0, 2);
  return new TextDecoder().decode(address.subarray(2, end < 0 ? size[0] : end));
}

function bytesOf(words: Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
