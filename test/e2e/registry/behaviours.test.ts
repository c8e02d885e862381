import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { after, before, beforeEach, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { digestOf } from '../../../src/model/digest.ts'
import { startAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/faults.ts'
import { type Rule, type Seen, startProxy } from '../../support/proxy.ts'
import { type Pulls, startPulls } from '../../support/pulls.ts'
import { type PushedImage, tarLayer } from '../../support/registry.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'

let pulls: Pulls
before(async () => {
  pulls = await startPulls('[registry]\ntimeout = "1s"\n[pull]\nstallTimeout = "1s"\n')
})
after(() => pulls[Symbol.asyncDispose]())
beforeEach(() => pulls.proxy.lie())

const layerOf = (image: PushedImage, index = 0) => image.layers[index] ?? assert.fail()
const isBlob =
  ({ digest }: { digest: string }) =>
  ({ path, method }: Seen) =>
    method === 'GET' && path.endsWith(`/blobs/${digest}`)
const isManifest = ({ path }: Seen) => path.includes('/manifests/')

let seed = 0
/** A layer of this many bytes that does not shrink, and that there is once. */
async function bigLayer(bytes: number): Promise<Buffer> {
  const content = Buffer.alloc(bytes)
  let state = ++seed
  for (let at = 0; at < bytes; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    content.writeUInt32LE(state, at)
  }
  return await tarLayer([{ name: 'big', content }])
}

/** Answers with this status and these headers where a request is meant. */
const status =
  (applies: (asked: Seen) => boolean, code: number, headers: Record<string, string> = {}, body = ''): Rule =>
  (asked, _upstream, response) => {
    if (!applies(asked)) return false
    response.writeHead(code, headers).end(body)
    return true
  }

/** The first so many times. */
function times(count: number, rule: Rule): Rule {
  let left = count
  return async (asked, upstream, response) => {
    if (left === 0 || !(await rule(asked, upstream, response))) return false
    left -= 1
    return true
  }
}

describe('what a registry answers', () => {
  test('403: access is denied, which is said once and not asked again', async () => {
    const image = await pulls.push()
    pulls.proxy.lie(status(isManifest, 403))
    await pulls.fails(image.name, 77, /denies access to .*docker login/)
    assert.equal(pulls.proxy.seen.filter(({ method }) => method === 'GET').length, 1)
  })

  test('404 on one layer: the layer is named', async () => {
    const layers = await Promise.all(['a', 'b'].map((name) => tarLayer([{ name, content: `${name}404` }])))
    const image = await pulls.push({ layers })
    pulls.proxy.lie(status(isBlob(layerOf(image, 1)), 404))
    await pulls.fails(image.name, 66, new RegExp(`${layerOf(image, 1).digest} is not in`))
  })

  test('429 with Retry-After: everybody leaves the host alone for that long', async () => {
    const [one, other] = [await pulls.push(), await pulls.push()]
    let askedAt = 0
    const early: number[] = []
    pulls.proxy.lie((asked, _upstream, response) => {
      if (askedAt !== 0 && performance.now() - askedAt < 950) early.push(performance.now() - askedAt)
      if (askedAt !== 0 || !isBlob(layerOf(one))(asked)) return false
      askedAt = performance.now()
      response.writeHead(429, { 'retry-after': '1' }).end()
      return true
    })
    const first = pulls.succeeds(one.name)
    await eventually(
      async () => askedAt,
      (at) => at > 0,
    )
    await Promise.all([first, pulls.succeeds(other.name)])
    // What was on its way already when the answer came is no fault.
    assert.ok(
      early.every((ms) => ms < 50),
      `asked after ${early.join()} ms`,
    )
  })

  test('429 that asks for an hour: it is said, and not waited for', async () => {
    const image = await pulls.push()
    pulls.proxy.lie(status(isManifest, 429, { 'retry-after': '3600' }))
    await pulls.fails(image.name, 69, /status 429/)
  })

  test('500 a few times, then fine; 500 for ever', async () => {
    const image = await pulls.push()
    pulls.proxy.lie(times(3, status(isBlob(layerOf(image)), 500)))
    await pulls.succeeds(image.name)
    const other = await pulls.push()
    pulls.proxy.lie(status(isBlob(layerOf(other)), 500))
    await pulls.fails(other.name, 69, /status 500/)
  })

  test('401 in the middle, of one who was let in before', async () => {
    const image = await pulls.push()
    let token = 'first'
    pulls.proxy.lie((asked, _upstream, response) => {
      if (asked.path.startsWith('/token')) {
        response.writeHead(200).end(JSON.stringify({ token, expires_in: 3600 }))
        return true
      }
      if (asked.authorization === `Bearer ${token}`) {
        if (asked.path.endsWith(image.config.digest)) token = 'second'
        return false
      }
      const challenge = `Bearer realm="http://${pulls.proxy.address}/token",service="test"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
      return true
    })
    await pulls.succeeds(image.name)
    assert.equal(pulls.proxy.seen.filter(({ path }) => path.startsWith('/token')).length, 2)
  })

  test('the token service is down: it is tried again, and named', async () => {
    const image = await pulls.push()
    const at = (realm: string) =>
      status(() => true, 401, { 'www-authenticate': `Bearer realm="http://${realm}/token",service="test"` })
    pulls.proxy.lie(at('127.0.0.1:1'))
    await pulls.fails(image.name, 69, /127\.0\.0\.1:1 refuses connections/)
    pulls.proxy.lie((asked, upstream, response) =>
      asked.path.startsWith('/token')
        ? status(() => true, 503)(asked, upstream, response)
        : at(pulls.proxy.address)(asked, upstream, response),
    )
    await pulls.fails(image.name, 69, /the token service of .* status 503/)
    pulls.proxy.lie(status(() => true, 401, { 'www-authenticate': 'Bearer realm="ftp://x/token"' }))
    await pulls.fails(image.name, 65, /names no token service that can be trusted/)
  })
})

describe('how a registry sends', () => {
  test('the connection is reset at every 64 KiB: it goes on from there', async () => {
    const image = await pulls.push({ layers: [await bigLayer(300_000)] })
    pulls.proxy.lie(async (asked, upstream, response) => {
      if (!isBlob(layerOf(image))(asked)) return false
      const { headers, body, status } = await upstream()
      response.writeHead(status, headers)
      response.write(body.subarray(0, 65_536), () => (body.length > 65_536 ? response.destroy() : response.end()))
      return true
    })
    await pulls.succeeds(image.name)
    const asked = pulls.proxy.seen.filter(isBlob(layerOf(image))).map(({ range }) => range)
    assert.ok(asked.length >= 4 && new Set(asked).size === asked.length, asked.join())
  })

  test('it stalls for ever, in a manifest or in a layer', async () => {
    const image = await pulls.push()
    pulls.proxy.lie(isManifest)
    await pulls.fails(image.name, 69, /does not answer in time/)
    const other = await pulls.push()
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!isBlob(layerOf(other))(asked)) return false
      response.writeHead(200, { 'content-length': String(layerOf(other).size) }).write('x')
      return true
    })
    await pulls.fails(other.name, 69, /has stopped sending|given up|stall|bytes/)
  })

  for (const [what, size] of [
    ['a shorter', -10],
    ['a longer', 10],
  ] as const) {
    test(`${what} Content-Length than the descriptor's is refused`, async () => {
      const image = await pulls.push()
      pulls.proxy.lie(async (asked, upstream, response) => {
        if (!isBlob(layerOf(image))(asked)) return false
        const { body } = await upstream()
        const sent = size < 0 ? body.subarray(0, body.length + size) : Buffer.concat([body, Buffer.alloc(size)])
        response.writeHead(200, { 'content-length': String(sent.length) }).end(sent)
        return true
      })
      await pulls.fails(image.name, 65, /should have \d+ bytes/)
    })
  }

  test('a body that is longer than promised is refused, announced or not', async () => {
    const image = await pulls.push()
    pulls.proxy.lie(async (asked, upstream, response) => {
      if (!isBlob(layerOf(image))(asked)) return false
      const { body } = await upstream()
      response.writeHead(200, { 'transfer-encoding': 'chunked' })
      response.end(Buffer.concat([body, Buffer.alloc(1000)]))
      return true
    })
    await pulls.fails(image.name, 65, /more than its \d+ bytes/)
  })

  test('a Content-Length that the body does not keep is a cut connection', async () => {
    const image = await pulls.push()
    let broken = 0
    pulls.proxy.lie(async (asked, upstream, response) => {
      if (!isBlob(layerOf(image))(asked) || broken++ > 0) return false
      const { body } = await upstream()
      // Written past Node's own check.
      response.socket?.end(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${'x'.repeat(0)}`)
      return true
    })
    await pulls.succeeds(image.name)
  })

  test('200 instead of 206: what is there is passed over', async () => {
    const image = await pulls.push({ layers: [await bigLayer(200_000)] })
    pulls.proxy.lie(async (asked, upstream, response) => {
      if (!isBlob(layerOf(image))(asked)) return false
      if (asked.range === undefined) {
        const { body } = await upstream()
        response.writeHead(200, { 'content-length': String(body.length) })
        response.write(body.subarray(0, 100_000), () => response.destroy())
        return true
      }
      const whole = await pulls.proxy.ask(asked.path)
      response.writeHead(200, { 'content-length': String(whole.length) }).end(whole)
      return true
    })
    await pulls.succeeds(image.name)
  })

  for (const [what, range] of [
    ['another place', (size: number) => `bytes 7-${size - 1}/${size}`],
    ['another size', (size: number) => `bytes 100000-${size}/${size + 1}`],
    ['no place', () => ''],
  ] as const) {
    test(`a Content-Range of ${what} than asked for brings no wrong byte in`, async () => {
      const image = await pulls.push({ layers: [await bigLayer(200_000)] })
      const { size } = layerOf(image)
      pulls.proxy.lie(async (asked, upstream, response) => {
        if (!isBlob(layerOf(image))(asked)) return false
        const { body } = await upstream()
        if (asked.range === undefined) {
          response.writeHead(200, { 'content-length': String(body.length) })
          response.write(body.subarray(0, 100_000), () => response.destroy())
          return true
        }
        const given = range(size)
        response.writeHead(206, {
          'content-length': String(body.length),
          ...(given === '' ? {} : { 'content-range': given }),
        })
        response.end(body)
        return true
      })
      const result = await pulls.node.cli('pull', '-q', image.name)
      // Where the place is one that was passed already, the bytes are skipped, and the digest tells that they are wrong.
      assert.match(`${result.exitCode} ${result.stderr}`, /^(65|69) purser: .*(bytes|sends|part|digest|source)/)
      assert.equal((await pulls.node.cli('gc')).exitCode, 0)
    })
  }

  test('headers beyond measure are refused', async () => {
    const image = await pulls.push()
    pulls.proxy.lie(status(isManifest, 200, { 'x-huge': 'x'.repeat(100_000) }))
    await pulls.fails(image.name, 65, /more headers than are taken/)
  })

  test('a manifest beyond measure is refused before it is read', async () => {
    const image = await pulls.push()
    const huge = Buffer.alloc(4 * 1024 * 1024 + 1, ' ')
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!isManifest(asked)) return false
      const headers = {
        'content-type': MANIFEST,
        'content-length': String(huge.length),
        'docker-content-digest': digestOf(huge),
      }
      response.writeHead(200, headers).end(asked.method === 'HEAD' ? undefined : huge)
      return true
    })
    await pulls.fails(image.name, 73, /a manifest of 4194305 bytes, more than the 4194304 allowed/)
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!isManifest(asked)) return false
      response.writeHead(200, { 'content-type': MANIFEST, 'transfer-encoding': 'chunked' })
      response.end(asked.method === 'HEAD' ? undefined : huge)
      return true
    })
    await pulls.fails(image.name, 73, /more than the 4194304 bytes allowed/)
  })
})

describe('what a registry sends', () => {
  const gzip = async (make: (tar: Buffer) => Buffer) => {
    const repository = `odd/gzip${digestOf(String(make)).slice(7, 19)}`
    const tar = await tarLayer([{ name: 'file', content: repository.repeat(5000) }])
    const blob = make(tar)
    const digest = await pulls.registry.pushBlob(repository, blob)
    const config = Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: 'amd64',
        config: {},
        rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
      }),
    )
    const document = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: await pulls.registry.pushBlob(repository, config),
        size: config.length,
      },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: blob.length }],
    })
    await pulls.registry.pushManifest(repository, 'latest', document, MANIFEST)
    return `${pulls.proxy.address}/${repository}:latest`
  }

  test('a truncated gzip is refused', async () => {
    const name = await gzip((tar) => gzipSync(tar).subarray(0, -20))
    await pulls.fails(name, 65, /sha256:.*(end|truncated|incomplete|compress)/i)
  })

  test('garbage after the end of a gzip is refused', async () => {
    const name = await gzip((tar) => Buffer.concat([gzipSync(tar), Buffer.from('garbage that is not gzip')]))
    await pulls.fails(name, 65, /sha256:.*(after|garbage|header|compress)/i)
  })

  test('a gzip of several members is read as one', async () => {
    await pulls.succeeds(
      await gzip((tar) => Buffer.concat([gzipSync(tar.subarray(0, 5000)), gzipSync(tar.subarray(5000))])),
    )
  })

  test('a manifest that changes between the tag and the digest: the digest counts', async () => {
    const image = await pulls.push()
    const other = await pulls.push()
    // The tag moves after it was resolved: the old manifest is still to be had by its digest.
    let asked = 0
    pulls.proxy.lie(async (request, _upstream, response) => {
      if (!isManifest(request) || request.path.includes('sha256:')) return false
      if (asked++ === 0) return false
      response.writeHead(500).end('moved')
      return true
    })
    await pulls.succeeds(image.name)
    // It is not: what comes by the digest is another document.
    const third = await pulls.push()
    pulls.proxy.lie(async (request, _upstream, response) => {
      if (!isManifest(request) || !request.path.includes(third.descriptor.digest)) return false
      const body = await pulls.proxy.ask(
        `/v2/${other.name.split('/').slice(1).join('/').replace(':latest', '')}/manifests/latest`,
        MANIFEST,
      )
      response.writeHead(200, { 'content-type': MANIFEST, 'content-length': String(body.length) }).end(body)
      return true
    })
    await pulls.fails(third.name, 65, /sends|should have/)
    // The header says what it is, and it is not what was asked for.
    pulls.proxy.lie(async (request, upstream, response) => {
      if (!isManifest(request)) return false
      const { headers, body, status } = await upstream()
      if (request.method === 'HEAD') response.writeHead(405).end()
      else response.writeHead(status, { ...headers, 'docker-content-digest': other.descriptor.digest }).end(body)
      return true
    })
    await pulls.fails(third.name, 65, /sends sha256:|answers with/)
  })

  test('an index that says it lists itself, or is nested for ever, ends', async () => {
    const repository = 'odd/nested'
    let descriptor = { mediaType: INDEX, digest: digestOf('nothing') as string, size: 7 }
    const pushed = new Map<string, string>()
    const keep = (document: string) => {
      pushed.set(digestOf(document), document)
      descriptor = { mediaType: INDEX, digest: digestOf(document), size: document.length }
      return descriptor
    }
    for (let depth = 0; depth < 600; depth++)
      keep(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [descriptor, descriptor] }))
    const outer = descriptor
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!asked.path.includes(`/${repository}/manifests/`)) return false
      const document = asked.path.endsWith('/latest')
        ? pushed.get(outer.digest)
        : pushed.get(asked.path.split('/').at(-1) ?? '')
      if (document === undefined) response.writeHead(404).end()
      else {
        const headers = {
          'content-type': INDEX,
          'content-length': String(document.length),
          'docker-content-digest': digestOf(document),
        }
        response.writeHead(200, headers).end(asked.method === 'HEAD' ? undefined : document)
      }
      return true
    })
    await pulls.fails(`${pulls.proxy.address}/${repository}:latest`, 64, /has more than 500 documents/)
    assert.ok(pulls.proxy.seen.length < 510)
    // One that lists itself can only lie about its digest.
    const claimed = digestOf('claimed')
    const manifests = [{ mediaType: INDEX, digest: claimed, size: 200 }]
    const itself = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }).padEnd(200)
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!isManifest(asked)) return false
      const headers = { 'content-type': INDEX, 'content-length': '200', 'docker-content-digest': claimed }
      response.writeHead(200, headers).end(asked.method === 'HEAD' ? undefined : itself)
      return true
    })
    await pulls.fails(`${pulls.proxy.address}/${repository}:latest`, 65, new RegExp(`sends sha256:.* as ${claimed}`))
  })
})

describe('where a registry sends one', () => {
  test('round in circles, to no http URL, and to one with a password in it', async () => {
    const image = await pulls.push()
    pulls.proxy.lie((asked, _upstream, response) => {
      if (!isBlob(layerOf(image))(asked) && !asked.path.includes('round')) return false
      response.writeHead(307, { location: `/round${asked.path}` }).end()
      return true
    })
    await pulls.fails(image.name, 65, /redirects more than 10 times/)
    for (const [location, says] of [
      ['ftp://127.0.0.1/x', /no http URL/],
      [`http://me:secret@${pulls.proxy.address}/x`, /password in the URL/],
    ] as const) {
      pulls.proxy.lie(status(isBlob(layerOf(image)), 307, { location }))
      await pulls.fails(image.name, 65, says)
    }
  })

  test('from https to plain http: refused; to another host over https: followed, without credentials', async () => {
    await using authority = await startAuthority()
    const good = await authority.issue('good')
    await using sealed = await startProxy(pulls.registry.address, good)
    const image = await pulls.push()
    const name = image.name.replace(pulls.proxy.address, sealed.address)
    sealed.lie(status(isBlob(layerOf(image)), 302, { location: `http://${pulls.proxy.address}/x` }))
    await pulls.fails(name, 65, /redirects from https to plain http/)
    assert.deepEqual(pulls.proxy.seen, [])
  })
})

test('nothing is left open after all of that', async () => {
  const open = async () => {
    const fds = await readdir(`/proc/${pulls.node.pid}/fd`)
    return fds.length
  }
  pulls.proxy.lie()
  // Connections that are kept for the next request are closed after some seconds.
  await eventually(
    () => pulls.proxy.connections(),
    (count) => count === 0,
  )
  const before = await open()
  const image = await pulls.push()
  pulls.proxy.lie(status(isBlob(layerOf(image)), 403))
  for (let round = 0; round < 3; round++) await pulls.node.cli('pull', '-q', image.name)
  await eventually(open, (count) => count <= before + 2)
})
