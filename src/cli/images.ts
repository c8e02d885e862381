import type { Command } from 'commander'
import type { ImageView } from '../client/index.ts'
import { PurserError } from '../model/errors.ts'
import { contextOf, each } from './context.ts'
import { age, humanSize, print } from './output.ts'
import { showProgress } from './progress.ts'

export function define(program: Command): void {
  program
    .command('pull')
    .argument('<image>')
    .option('-q, --quiet', 'print only the name')
    .option('--platform <os/arch>')
    .option('--snapshotter <name>')
    .description('fetch an image and unpack it')
    .action(
      async (image: string, flags: { quiet?: true; platform?: string; snapshotter?: string }, command: Command) => {
        const { client } = contextOf(command)
        const payload = { platform: flags.platform, snapshotter: flags.snapshotter }
        const accepted = await client.submit('image.pull', { subject: image, payload, waitSeconds: 0 })
        const settled = new AbortController()
        const cancel = () => void client.cancel(accepted.id)
        process.once('SIGINT', cancel).once('SIGTERM', cancel)
        const shown = flags.quiet ? undefined : showProgress(client, accepted.id, settled.signal, process.stdout)
        shown?.catch(() => {})
        let ended = accepted
        while (ended.status === 'accepted' || ended.status === 'running') ended = await client.command(accepted.id, 60)
        await Promise.race([shown, new Promise((resolve) => setTimeout(resolve, 300))])
        settled.abort()
        process.off('SIGINT', cancel).off('SIGTERM', cancel)
        if ('error' in ended && ended.error) throw PurserError.fromBody(ended.error)
        const { digest, cached, fetchedBytes } = ('result' in ended ? ended.result : {}) as {
          digest?: string
          cached?: boolean
          fetchedBytes?: number
        }
        if (!flags.quiet)
          process.stdout.write(
            `${digest}: ${cached ? 'nothing to fetch' : `${humanSize(fetchedBytes ?? 0)} fetched`}\n`,
          )
        process.stdout.write(`${ended.subject}\n`)
      },
    )
  program
    .command('images')
    .description('list images')
    .action(async (_flags: unknown, command: Command) => {
      const { client, format } = contextOf(command)
      print(await Array.fromAsync(client.list<ImageView>('images')), format, {
        NAME: ({ name }) => name,
        DIGEST: ({ target }) => target.digest.slice(7, 19),
        PLATFORM: ({ platform }) => platform,
        CREATED: ({ createdAt }) => age(createdAt),
        SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
      })
    })
  program
    .command('rmi')
    .argument('<image...>')
    .option('-f, --force', 'even if a container uses it')
    .description('remove images and what only they hold')
    .action(async (images: string[], flags: { force?: true }, command: Command) => {
      const { client } = contextOf(command)
      const payload = { inUse: flags.force ? 'allow' : 'refuse' }
      await each(images, async (subject) => (await client.submit('image.delete', { subject, payload })).subject)
    })
  program
    .command('tag')
    .argument('<source>')
    .argument('<name>')
    .description('give an image a second name')
    .action(async (source: string, subject: string, _flags: unknown, command: Command) => {
      await contextOf(command).client.submit('image.tag', { subject, payload: { source } })
    })
  program
    .command('gc')
    .option('--dry-run', 'only say what would go')
    .description('remove content and snapshots that nothing refers to')
    .action(async (flags: { dryRun?: true }, command: Command) => {
      const { client } = contextOf(command)
      const ended = await client.submit('gc.collect', {
        subject: 'node',
        payload: { mode: flags.dryRun ? 'dry-run' : 'remove' },
      })
      process.stdout.write(`${JSON.stringify('result' in ended ? ended.result : {}, null, 2)}\n`)
    })
}
