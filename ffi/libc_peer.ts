/** Who is at the other end of this process's unix sockets: SO_PEERCRED, see unix(7). Linux with glibc. */
import { factsAt } from "./libc_at.ts";
import { listKernelFolder } from "./libc_files.ts";

const SYMBOLS = {
  // int getsockname(int sockfd, struct sockaddr* addr, socklen_t* addrlen)
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int getsockopt(int sockfd, int level, int optname, void* optval, socklen_t* optlen)
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const AF_UNIX = 1;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** Bytes of `struct sockaddr_un`, and of `struct ucred`: pid, uid, gid. */
const ADDRESS_BYTES = 110;
const CREDENTIAL_BYTES = 12;

/** The user at the other end of each open socket with a path, by the socket's inode; the listening one included. */
export function peersOf(path: string): ReadonlyMap<number, number> {
  const peers = new Map<number, number>();
  for (const name of listKernelFolder("/proc/self/fd")) {
    const fd = Number(name);
    if (socketPath(fd) !== path) continue;
    const credential = new Uint32Array(CREDENTIAL_BYTES / 4);
    const size = Uint32Array.of(CREDENTIAL_BYTES);
    if (libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytesOf(credential), bytesOf(size)) !== 0) {
      continue;
    }
    peers.set(factsAt(fd, "").inode, credential[1]);
  }
  return peers;
}

/** The path that a unix socket was bound to; `undefined` for what is none. */
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
