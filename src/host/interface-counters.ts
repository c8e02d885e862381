import { readFile } from 'node:fs/promises'

export interface InterfaceBytes {
  receivedBytes: number
  sentBytes: number
}

/** What went through the network interfaces that a process sees, loopback aside. @see proc_pid_net(5), dev */
export async function interfaceBytesOf(pid: number): Promise<InterfaceBytes> {
  const sum = { receivedBytes: 0, sentBytes: 0 }
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8').catch(() => '')
  for (const line of text.split('\n').slice(2)) {
    const [name = '', counters = ''] = line.split(':')
    if (name.trim() === 'lo' || counters === '') continue
    const fields = counters.trim().split(/\s+/).map(Number)
    sum.receivedBytes += fields[0] ?? 0
    sum.sentBytes += fields[8] ?? 0
  }
  return sum
}
