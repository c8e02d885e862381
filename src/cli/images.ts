import { matchesGlob } from 'node:path'
import type { ImageView, PurserClient } from '../client/index.ts'
import { PurserError } from '../model/errors.ts'
import { filters } from './line/filters.ts'
import { familiarName, imagesNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { age, humanSize, print } from './terminal/output.ts'

const FILTERS = ['label', 'reference', 'before', 'since', 'dangling'] as const

export const verb = defineVerb({
  args: [{ name: 'repository[:tag]', count: '0-1', completes: 'image' }],
  options: {
    quiet: { short: 'q', help: 'only IDs' },
    digests: { help: 'show what the names stand for at the registry' },
    'no-trunc': { help: 'show IDs and digests whole' },
    filter: {
      short: 'f',
      value: 'filter',
      many: true,
      help: 'label=KEY[=VALUE], reference=GLOB, before=IMAGE, since=IMAGE, dangling=true|false',
    },
  },
  async run({ client, flags, args: [wanted], format }) {
    const given = filters(flags.filter, FILTERS)
    const all = await Array.fromAsync(client.list('images', { label: given.label }))
    const tests = await testsOf(client, given, wanted)
    const images = all
      .filter((image) => tests.every((test) => test(image)))
      .sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
    const short = (digest: string) => (flags['no-trunc'] ? digest : digest.slice(7, 19))
    if (flags.quiet) {
      const ids = new Set(images.map(({ config }) => short(config.digest)))
      process.stdout.write([...ids].map((id) => `${id}\n`).join(''))
      return 0
    }
    print(images, format, {
      REPOSITORY: ({ name }) => familiarName(name).repository,
      TAG: ({ name }) => familiarName(name).tag,
      ...(flags.digests ? { DIGEST: ({ target }: ImageView) => target.digest } : {}),
      'IMAGE ID': ({ config }) => short(config.digest),
      PLATFORM: ({ platform }) => platform,
      CREATED: ({ createdAt }) => age(createdAt),
      SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
    })
    return 0
  },
})

type Test = (image: ImageView) => boolean

async function testsOf(
  client: PurserClient,
  given: Record<(typeof FILTERS)[number], string[]>,
  wanted: string | undefined,
): Promise<Test[]> {
  const tests: Test[] = []
  if (given.reference.length > 0) tests.push((image) => given.reference.some((glob) => matches(image, glob)))
  if (wanted !== undefined) tests.push((image) => matches(image, wanted))
  for (const name of given.before) {
    const { createdAt } = await theOne(client, name)
    tests.push((image) => image.createdAt < createdAt)
  }
  for (const name of given.since) {
    const { createdAt } = await theOne(client, name)
    tests.push((image) => image.createdAt > createdAt)
  }
  for (const text of given.dangling) {
    if (text !== 'true' && text !== 'false') {
      throw new PurserError('invalid_argument', `--filter dangling=${text}: it is true or false`, {
        remedy: 'write dangling=true for images without a tag',
      })
    }
    tests.push(({ name }) => (familiarName(name).tag === '<none>') === (text === 'true'))
  }
  return tests
}

async function theOne(client: PurserClient, name: string): Promise<ImageView> {
  const [image] = await imagesNamed(client, name)
  if (image) return image
  throw new PurserError('not_found', `there is no image ${name}`)
}

/** By its whole name or as docker shows it, with its tag or of any. */
function matches({ name }: ImageView, glob: string): boolean {
  const { repository, tag } = familiarName(name)
  const full = name.split('@')[0] ?? name
  const untagged = full.slice(0, full.length - tag.length - 1)
  return [full, untagged, repository, `${repository}:${tag}`].some((each) => matchesGlob(each, glob))
}
