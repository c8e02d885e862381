import { defineVerb } from './line/verb.ts'
import { snapshotSubject, snapshotterOption } from './options/snapshot.ts'
import { humanSize, print } from './terminal/output.ts'

interface Usage {
  sizeBytes: number
  inodes: number
  totalBytes: number
}

interface ImageUsage {
  sizeBytes: number
  sharedBytes: number
  uniqueBytes: number
  inodes: number
}

const pathOf = (id: string): string => `/v1/snapshots/${id.split('/').map(encodeURIComponent).join('/')}/usage`

export const verb = defineVerb({
  args: [{ name: 'key', count: '0-' }],
  options: {
    ...snapshotterOption,
    image: { value: 'image', many: true, completes: 'image', help: 'of the unpacked layers of an image instead' },
  },
  async run({ client, flags, args, format }) {
    if (flags.image.length > 0) {
      const rows: (ImageUsage & { image: string })[] = []
      for (const image of flags.image) {
        rows.push({ image, ...(await client.get<ImageUsage>(`/v1/images/${encodeURIComponent(image)}/usage`)) })
      }
      print(rows, format, {
        IMAGE: ({ image }) => image,
        SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
        SHARED: ({ sharedBytes }) => humanSize(sharedBytes),
        UNIQUE: ({ uniqueBytes }) => humanSize(uniqueBytes),
        INODES: ({ inodes }) => String(inodes),
      })
      return 0
    }
    const ids =
      args.length > 0
        ? args.map((key) => snapshotSubject(key, flags.snapshotter))
        : (await Array.fromAsync(client.list('snapshots'))).map(({ snapshotter, key }) => `${snapshotter}/${key}`)
    const rows: (Usage & { id: string })[] = []
    for (const id of ids) rows.push({ id, ...(await client.get<Usage>(pathOf(id))) })
    print(rows, format, {
      SNAPSHOT: ({ id }) => id,
      SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
      INODES: ({ inodes }) => String(inodes),
      'WITH PARENTS': ({ totalBytes }) => humanSize(totalBytes),
    })
    return 0
  },
})
