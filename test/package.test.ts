/** What `npm publish` would hand out, as those get it who install it. */
import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../', import.meta.url))
/** Debian's own, where there is one. */
const MACHINES_NODE = '/usr/bin/node'
const tsc = join(root, 'node_modules/.bin/tsc')

type Manifest = {
  readonly version: string
  readonly bin: { readonly meerkat: string }
  readonly scripts: { readonly start: string }
  readonly dependencies: Readonly<Record<string, string>>
}

type Listening = { readonly kind: string; readonly port: number }

function isOld(node: string): boolean {
  if (!existsSync(node)) return false
  const [major] = execFileSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' }).split(
    '.',
  )
  return Number(major) < 24
}

describe('the package', () => {
  let manifest: Manifest
  /** Where it is installed. */
  let project: string
  let files: readonly string[]

  before(async () => {
    manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    project = await mkdtemp(join(tmpdir(), 'meerkat-package-'))
    const modules = join(project, 'node_modules')
    const tarball = await pack(join(project, 'source'))
    files = (await run('tar', ['-tzf', tarball])).stdout.trim().split('\n')
    await mkdir(join(modules, 'meerkat'), { recursive: true })
    await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', join(modules, 'meerkat')])
    // Its dependencies, and what a project of one's own has besides.
    for (const name of [...Object.keys(manifest.dependencies), '@types']) {
      await mkdir(dirname(join(modules, name)), { recursive: true })
      await symlink(join(root, 'node_modules', name), join(modules, name))
    }
    await write('package.json', JSON.stringify({ type: 'module' }))
  })
  after(() => rm(project, { recursive: true, force: true }))

  /** As `npm pack` would, but built aside: others may be at work on `dist`. */
  async function pack(source: string): Promise<string> {
    await mkdir(source)
    for (const name of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs']) {
      await cp(join(root, name), join(source, name), { recursive: true })
    }
    await run(process.execPath, [join(root, 'tools/build.ts'), join(source, 'dist')])
    const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts'], { cwd: source })
    const [{ filename }] = JSON.parse(stdout) as [{ readonly filename: string }]
    return join(source, filename)
  }

  const write = (name: string, text: string) => writeFile(join(project, name), text)
  const meerkat = () => join(project, 'node_modules/meerkat', manifest.bin.meerkat)

  test('holds what is needed, and neither sources nor tests', () => {
    for (const file of [
      'dist/bin.js',
      'dist/index.d.ts',
      'dist/admin/page/index.html',
      'docs/route.md',
      'LICENSE',
    ]) {
      assert(files.includes(`package/${file}`), `${file} is missing`)
    }
    const others = files.filter(
      (file) =>
        !/(\.js|\.d\.ts|\.md|\/LICENSE|\/package\.json|\/page\/\w+\.(html|css|svg))$/.test(file),
    )
    assert.deepEqual(others, [])
    assert.deepEqual(
      files.filter((file) => /\.test\.|oracle|documents|properties/.test(file)),
      [],
    )
  })

  test('starts a server, which serves and stops', async () => {
    const [firstLine] = (await readFile(meerkat(), 'utf8')).split('\n')
    assert.equal(firstLine, '#!/usr/bin/env node')
    const { stdout } = await run(process.execPath, [meerkat(), '--version'])
    assert.equal(stdout, `${manifest.version}\n`)

    await write(
      'meerkat.toml',
      'domains = ["localhost"]\n[[listen.c2s]]\naddress = "127.0.0.1"\nport = 0\ntls = "starttls"\n' +
        '[[listen.http]]\naddress = "127.0.0.1"\nport = 0\n',
    )
    const server = spawn(process.execPath, [meerkat(), 'start'], { cwd: project })
    const exited = once(server, 'exit')
    try {
      for await (const line of createInterface(server.stdout)) if (line.startsWith('ready')) break
      const commandLine = await readFile(`/proc/${server.pid}/cmdline`, 'utf8')
      const [, ...startedWith] = commandLine.split('\0').slice(0, -1)
      const [, ...asFromSource] = manifest.scripts.start
        .replace('src/main.ts', meerkat())
        .split(' ')
      assert.deepEqual(startedWith, asFromSource)
      const register = ['account', 'register', 'juliet@localhost', '--password', 'Capulet']
      const registered = await run(process.execPath, [meerkat(), ...register], { cwd: project })
      assert.equal(registered.stdout, 'juliet@localhost is registered\n')
      const status = await run(process.execPath, [meerkat(), 'status', '--json'], { cwd: project })
      const { listeners } = JSON.parse(status.stdout) as { listeners: Listening[] }
      const http = listeners.find(({ kind }) => kind === 'http')
      const page = await fetch(`http://127.0.0.1:${http?.port}/admin/`)
      assert.match(await page.text(), /<title>Meerkat<\/title>/)
    } finally {
      server.kill('SIGTERM')
    }
    assert.deepEqual(await exited, [0, null])
  })

  test('says which Node it needs to one that is too old', {
    skip: isOld(MACHINES_NODE) ? false : 'the machine has no old Node',
  }, async () => {
    const started = run(MACHINES_NODE, [meerkat(), '--version'])
    await assert.rejects(started, {
      code: 1,
      stderr: /^Meerkat needs Node\.js 24 or newer; this is /,
    })
  })

  test('is a library with types', async () => {
    await write(
      'embed.ts',
      `import { createServer, defineModule } from 'meerkat'
       const fates = defineModule({
         name: 'fates',
         start({ hooks }) {
           hooks.on('message_routed', (outcome, { envelope }) => {
             const address: string = envelope.to.bare
             return address === '' ? outcome : outcome
           })
           // @ts-expect-error There is no such hook.
           hooks.on('message_rooted', (outcome) => outcome)
           // @ts-expect-error A handler returns something.
           hooks.on('user_send_message', () => {})
         },
       })
       await using server = await createServer({ use: [fates] })
       await server.accounts.register('juliet@localhost', 'Capulet')
       await server.start()
       const [address] = server.listeners
       console.log(address!.port > 0, await server.accounts.exists('juliet@localhost'))`,
    )
    const options =
      '--noEmit --strict --target esnext --module nodenext --types node --skipLibCheck'
    await run(tsc, [...options.split(' '), 'embed.ts'], { cwd: project })
    const { stdout } = await run(process.execPath, ['embed.ts'], { cwd: project })
    assert.equal(stdout, 'true true\n')
  })
})
