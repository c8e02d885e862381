import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../../src/model/digest.ts'
import { chainIdOf, chainIds } from '../../../src/oci/chain-id.ts'
import { parseImageConfig } from '../../../src/oci/image-config.ts'
import { parseManifestDocument } from '../../../src/oci/manifest.ts'
import { layerFormat, MEDIA_TYPES } from '../../../src/oci/media-types.ts'

const bytes = (document: unknown) => Buffer.from(JSON.stringify(document))
const descriptor = (mediaType: string) => ({ mediaType, digest: digestOf(mediaType), size: 7 })
const config = descriptor(MEDIA_TYPES.ociConfig)
const layer = descriptor('application/vnd.oci.image.layer.v1.tar+gzip')
const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] }
const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [descriptor(MEDIA_TYPES.ociManifest)] }

test('a manifest and an index are told apart, by type or else by shape', () => {
  assert.equal(parseManifestDocument(bytes(manifest), MEDIA_TYPES.ociManifest).kind, 'manifest')
  assert.equal(parseManifestDocument(bytes(index), `${MEDIA_TYPES.ociIndex}; charset=utf-8`).kind, 'index')
  assert.equal(parseManifestDocument(bytes({ ...manifest, mediaType: undefined })).mediaType, MEDIA_TYPES.ociManifest)
  assert.equal(parseManifestDocument(bytes({ ...index, mediaType: undefined })).mediaType, MEDIA_TYPES.ociIndex)
  assert.equal(parseManifestDocument(bytes(index), 'application/json').kind, 'index')
  const docker = { ...manifest, mediaType: MEDIA_TYPES.dockerManifest }
  assert.equal(parseManifestDocument(bytes(docker), MEDIA_TYPES.dockerManifest).kind, 'manifest')
})

test('a descriptor keeps its size in bytes and its platform', () => {
  const platform = { os: 'linux', architecture: 'arm', variant: 'v7' }
  const parsed = parseManifestDocument(bytes({ ...index, manifests: [{ ...index.manifests[0], platform }] }))
  assert.ok(parsed.kind === 'index')
  assert.equal(parsed.manifests[0]?.sizeBytes, 7)
  assert.deepEqual(parsed.manifests[0]?.platform, platform)
})

test('a document that can be read in two ways is refused (CVE-2021-41190)', () => {
  const both = { ...manifest, ...index, mediaType: undefined }
  const ambiguous: [unknown, string | undefined][] = [
    [both, undefined],
    [both, MEDIA_TYPES.ociManifest],
    [{ ...index, config }, MEDIA_TYPES.ociIndex],
    [{ ...manifest, mediaType: MEDIA_TYPES.ociIndex }, undefined],
    [manifest, MEDIA_TYPES.ociIndex],
    [manifest, MEDIA_TYPES.dockerManifest],
    [{ ...index, mediaType: MEDIA_TYPES.ociManifest }, undefined],
    [{ ...manifest, mediaType: undefined }, MEDIA_TYPES.ociIndex],
    [{ ...manifest, Manifests: index.manifests }, undefined],
    [{ ...index, LAYERS: [layer] }, MEDIA_TYPES.ociIndex],
  ]
  for (const [document, contentType] of ambiguous) {
    assert.throws(() => parseManifestDocument(bytes(document), contentType), { code: 'invalid_argument' })
  }
})

test('schema 1 is refused as such, however it shows', () => {
  const schema1 = { schemaVersion: 1, name: 'x', fsLayers: [{ blobSum: config.digest }] }
  for (const contentType of [undefined, MEDIA_TYPES.dockerSchema1, MEDIA_TYPES.dockerSchema1Signed]) {
    assert.throws(() => parseManifestDocument(bytes(schema1), contentType), {
      code: 'unimplemented',
      message: /schema 1/,
    })
  }
  assert.throws(() => parseManifestDocument(bytes({ ...manifest, fsLayers: [] })), { code: 'unimplemented' })
})

test('another media type is refused by name', () => {
  assert.throws(() => parseManifestDocument(bytes({ schemaVersion: 2 }), 'text/html'), {
    code: 'invalid_argument',
    message: /text\/html/,
  })
})

test('a malformed document is refused with the field at fault', () => {
  const bad: [unknown, RegExp][] = [
    [{ ...manifest, config: { ...config, digest: 'sha256:../../x' } }, /config\.digest/],
    [{ ...manifest, layers: [{ ...layer, size: -1 }] }, /layers\.0\.size/],
    [{ ...manifest, layers: [{ ...layer, size: 2 ** 60 }] }, /layers\.0\.size/],
    [{ ...manifest, layers: [{ ...layer, mediaType: 'x' }] }, /layers\.0\.mediaType/],
    [{ ...manifest, config: undefined }, /config/],
    [{ ...manifest, schemaVersion: 3 }, /schemaVersion/],
    [[], /refused/],
    ['text', /refused/],
  ]
  for (const [document, message] of bad) {
    assert.throws(() => parseManifestDocument(bytes(document)), { code: 'invalid_argument', message })
  }
  for (const raw of [Buffer.from([0xff, 0xfe]), Buffer.from('{'), Buffer.from('')]) {
    assert.throws(() => parseManifestDocument(raw), { code: 'invalid_argument', message: /JSON/ })
  }
})

test('a layer format comes from the media type alone', () => {
  const docker = 'application/vnd.docker.image.rootfs'
  assert.deepEqual(layerFormat('application/vnd.oci.image.layer.v1.tar'), { compression: 'none', foreign: false })
  assert.deepEqual(layerFormat('application/vnd.oci.image.layer.v1.tar+zstd'), { compression: 'zstd', foreign: false })
  assert.deepEqual(layerFormat('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'), {
    compression: 'gzip',
    foreign: true,
  })
  assert.deepEqual(layerFormat(`${docker}.diff.tar.gzip`), { compression: 'gzip', foreign: false })
  assert.deepEqual(layerFormat(`${docker}.foreign.diff.tar.gzip`), { compression: 'gzip', foreign: true })
  for (const other of ['application/vnd.in-toto+json', 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted']) {
    assert.throws(() => layerFormat(other), {
      code: 'unimplemented',
      message: new RegExp(other.replaceAll(/[+.]/g, '.')),
    })
  }
})

test('chain IDs follow the image spec', () => {
  const [a, b, c] = [digestOf('a'), digestOf('b'), digestOf('c')]
  const ab = digestOf(`${a} ${b}`)
  assert.deepEqual(chainIds([a, b, c]), [a, ab, digestOf(`${ab} ${c}`)])
  assert.equal(chainIdOf([a, b]), ab)
  assert.deepEqual(chainIds([]), [])
  assert.throws(() => chainIdOf([]), { code: 'invalid_argument' })
})

test('an image configuration has one shape, whatever was left out or null', () => {
  const diffId = digestOf('layer')
  const least = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [diffId] } }
  const empty = parseImageConfig(bytes(least))
  assert.deepEqual(empty.config.env, [])
  assert.deepEqual(empty.diffIds, [diffId])
  assert.deepEqual(empty.platform, { os: 'linux', architecture: 'amd64' })
  const nulls = {
    Env: null,
    Cmd: null,
    Entrypoint: null,
    Labels: null,
    Volumes: null,
    ExposedPorts: null,
    StopSignal: '',
  }
  assert.deepEqual(parseImageConfig(bytes({ ...least, config: nulls, history: null })), empty)

  const full = parseImageConfig(
    bytes({
      ...least,
      variant: 'v2',
      config: {
        User: 'app:app',
        Env: ['A=1'],
        Entrypoint: '/bin/app',
        Cmd: ['-v'],
        WorkingDir: '/srv',
        Labels: { a: 'b' },
        StopSignal: 'SIGQUIT',
        ExposedPorts: { '80/tcp': {} },
        Volumes: { '/data': {} },
      },
      history: [{ created_by: 'RUN', empty_layer: true }],
    }),
  )
  assert.deepEqual(full.config, {
    user: 'app:app',
    env: ['A=1'],
    entrypoint: ['/bin/app'],
    cmd: ['-v'],
    workingDir: '/srv',
    labels: { a: 'b' },
    stopSignal: 'SIGQUIT',
    exposedPorts: ['80/tcp'],
    volumes: ['/data'],
    healthcheck: undefined,
  })
  assert.equal(full.platform.variant, 'v2')
  assert.equal(full.history[0]?.emptyLayer, true)
})

test('an image configuration without a platform, or with odd diff IDs, is refused', () => {
  const rootfs = { type: 'layers', diff_ids: [] }
  assert.throws(() => parseImageConfig(bytes({ rootfs })), { code: 'invalid_argument', message: /os and architecture/ })
  assert.throws(
    () => parseImageConfig(bytes({ os: 'linux', architecture: 'amd64', rootfs: { ...rootfs, diff_ids: ['x'] } })),
    { code: 'invalid_argument', message: /rootfs\.diff_ids\.0/ },
  )
})

test('labels that mean something to a runtime are not for an image to give; there is a measure to the others', () => {
  const config = (Labels: Record<string, string>) =>
    bytes({ os: 'linux', architecture: 'amd64', config: { Labels }, rootfs: { type: 'layers', diff_ids: [] } })
  const reserved = [
    'containerd.io/gc.root',
    'io.containerd.image',
    'io.cri-containerd.image',
    'nerdctl/name',
    'purser.pool',
  ]
  const given = Object.fromEntries(
    [...reserved, 'org.opencontainers.image.title', 'purserlike'].map((key) => [key, '1']),
  )
  assert.deepEqual(Object.keys(parseImageConfig(config(given)).config.labels), [
    'org.opencontainers.image.title',
    'purserlike',
  ])
  const many = Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [`l${index}`, '']))
  for (const bad of [many, { large: 'x'.repeat(300_000) }, { ['k'.repeat(2000)]: '' }])
    assert.throws(() => parseImageConfig(config(bad)), { code: 'invalid_argument', message: /Labels/ })
})

test('there is a measure to annotations', () => {
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }
  const parse = (annotations: Record<string, string>) => parseManifestDocument(bytes({ ...document, annotations }))
  assert.deepEqual(parse({ a: 'b' }).annotations, { a: 'b' })
  assert.throws(() => parse({ large: 'x'.repeat(300_000) }), {
    code: 'invalid_argument',
    message: /annotations: more than 262144/,
  })
})
