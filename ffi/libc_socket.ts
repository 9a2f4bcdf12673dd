/**
 * Sends datagrams to the service manager and the system journal, on unix sockets, for which Deno has no
 * datagrams.
 */
import { cString } from "./pointer.ts";

const SYMBOLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // ssize_t sendto(int sockfd, const void* buf, size_t len, int flags,
  //                const struct sockaddr* dest_addr, socklen_t addrlen)
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i64" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of `sun_path`, the NUL at its end included. */
const PATH_BYTES = 108;

/**
 * `struct sockaddr_un` of a path, or of an abstract name, written with `@` as its first byte.
 *
 * @throws {RangeError} for a path that is too long
 */
function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  const text = cString(path);
  if (text.length > PATH_BYTES) {
    throw new RangeError(
      `A socket's path has at most ${PATH_BYTES - 1} bytes: current value is ${path}`,
    );
  }
  // An abstract name has a length instead of a final NUL.
  const name = path.startsWith("@") ? text.subarray(0, -1) : text;
  const address = new Uint8Array(2 + name.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  if (path.startsWith("@")) address[2] = 0;
  return address;
}

/**
 * Sends one datagram to a unix socket.
 *
 * @param path of the socket; `@name` is an abstract one
 * @param wait whether to wait while the receiver's queue is full, instead of dropping the datagram
 * @returns whether the receiver accepted it
 */
export function sendDatagram(path: string, bytes: Uint8Array<ArrayBuffer>, wait: boolean): boolean {
  const { socket, sendto, close } = libc();
  const address = unixAddress(path);
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  try {
    const flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
    const sent = sendto(fd, bytes, BigInt(bytes.length), flags, address, address.length);
    return Number(sent) === bytes.length;
  } finally {
    close(fd);
  }
}
