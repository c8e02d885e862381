import { workerData } from 'node:worker_threads'
import { CLONE, chdir, mount, unshare } from './syscalls.ts'

/** What mounts.ts asks of this thread: one mount, seen from a working directory that only this thread has. */
interface MountRequest {
  directory: string
  source: string
  target: string
  type: string
  flags: number
  data: string
}

const { directory, source, target, type, flags, data }: MountRequest = workerData
unshare(CLONE.FS)
chdir(directory)
mount(source, target, type, flags, data)
