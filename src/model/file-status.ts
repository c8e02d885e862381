/** A file, as a copy of files tells of it. */
export interface FileStatus {
  type: 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'
  /** Permissions with setuid, setgid and sticky. */
  mode: number
  uid: number
  gid: number
  sizeBytes: number
  /** RFC 3339, UTC. */
  modifiedAt: string
  /** Of a symlink. */
  target?: string
}
