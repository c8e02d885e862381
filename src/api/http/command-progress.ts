import { command, isActive } from '../../commands/command.ts'
import type { CommandEnvelope } from '../../model/command.ts'
import type { CommandProgress } from '../../projections/progress.ts'
import { commandView } from '../../projections/views.ts'
import type { Services } from '../services.ts'
import type { ByteStream } from './byte-stream.ts'
import { documentOf, type FoundCommand, findCommand } from './find-command.ts'
import { defineRoute, noQuery } from './route.ts'
import { EVENT_STREAM, heartbeats, sseEvent } from './sse.ts'

export const progressRoute = defineRoute({
  method: 'GET',
  path: '/v1/commands/{id}/progress',
  summary: 'How far a command and its steps are: `event: progress`, at the end `event: end` with the command',
  scope: 'node',
  query: noQuery,
  streams: 'always',
  answers: { 200: { description: 'server-sent events', mediaTypes: [EVENT_STREAM] } },
  async handle(call) {
    const { services, signal } = call
    const found = await findCommand(services.log, call.params.id, call.namespace, signal)
    const stream = call.stream(EVENT_STREAM)
    using _ = heartbeats(stream)
    if (isActive(found.state)) await sendProgress(services, found, stream, signal)
    const ended = documentOf(services.log, found.namespace, found.id) ?? found
    await stream.writeText(sseEvent({ event: 'end', data: commandView(ended) }))
    stream.end()
    return 'streamed'
  },
})

/** Sends progress until the command has ended: of each step the newest, however slow the client is. */
async function sendProgress(
  { log, outcomes, progress }: Services,
  { namespace, id }: FoundCommand,
  stream: ByteStream,
  signal: AbortSignal,
): Promise<void> {
  const newest = new Map<string, CommandProgress>()
  const followed = new Set<string>()
  let wake = () => {}
  using listening = new DisposableStack()
  const follow = (commandId: string) => {
    if (followed.has(commandId)) return
    followed.add(commandId)
    const changed = (now: CommandProgress) => {
      newest.set(commandId, now)
      wake()
    }
    const now = progress.get(commandId)
    if (now) changed(now)
    listening.use(progress.listen(commandId, changed))
  }
  follow(id)
  for (const { state } of log.documents.list(command, namespace)) {
    if (isActive(state) && isStepOf(state.command, id)) follow(state.command.id)
  }
  listening.use(
    log.listen((event) => {
      if (event.type !== 'command.accepted') return
      const state = log.documents.get(command, event.namespace, event.commandid)
      if (state.status !== 'absent' && isStepOf(state.command, id)) follow(event.commandid)
    }),
  )
  let running = true
  const ended = outcomes.wait(namespace, id, signal).finally(() => {
    running = false
    wake()
  })
  ended.catch(() => {}) // seen below
  while (running || newest.size > 0) {
    if (newest.size === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const batch = [...newest.values()]
    newest.clear()
    for (const now of batch) await stream.writeText(sseEvent({ event: 'progress', data: now }))
  }
  await ended
}

const isStepOf = ({ correlationId, parentId }: CommandEnvelope, id: string): boolean =>
  correlationId === id || parentId === id
