import type { ContainerView } from '../client/index.ts'
import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'
import { hostAddress, leadingPorts } from './terminal/ports.ts'

type Port = NonNullable<NonNullable<ContainerView['task']>['ports']>[number]

const ASKED = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'port', count: '0-1' },
  ],
  options: {},
  async run({ client, args: [name = '', asked], format }) {
    const { id, task } = await client.container(name)
    const all = task === undefined ? [] : leadingPorts(task)
    const ports = asked === undefined ? all : all.filter(matching(asked))
    if (asked !== undefined && ports.length === 0) {
      throw new PurserError('not_found', `no port of the host leads to ${asked} of container ${id}`, {
        remedy: `purser port ${id} lists those that do`,
      })
    }
    if (format === 'table')
      for (const port of ports) process.stdout.write(`${asked === undefined ? shown(port) : hostOf(port)}\n`)
    else printJson(ports, format)
    return 0
  },
})

function matching(text: string): (port: Port) => boolean {
  const [, number, protocol = 'tcp'] = ASKED.exec(text) ?? []
  if (number !== undefined) return (port) => port.containerPort === Number(number) && port.protocol === protocol
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a port`, { remedy: 'write 80, or 53/udp' })
}

const shown = (port: Port): string => `${port.containerPort}/${port.protocol} -> ${hostOf(port)}`

const hostOf = ({ hostIp, hostPort }: Port): string => `${hostAddress(hostIp)}:${hostPort}`
