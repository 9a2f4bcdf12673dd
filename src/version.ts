/** graft's own version, as `graft --version` prints it. */
export const VERSION = "0.1.0";
