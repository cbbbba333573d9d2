/** What the pages show is there, may be written so, and is understood. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'smol-toml'
import { core, protocolsPage } from '../../docs/protocols.ts'
import terms from '../../examples/tutorial/terms.ts'
import { type CliActions, runCli } from '../../src/admin/cli.ts'
import { commandsWith } from '../../src/admin/commands.ts'
import { plain } from '../../src/admin/stream-command.ts'
import { streams } from '../../src/admin/streams.ts'
import { ConfigError, checkConfig } from '../../src/config.ts'
import { modules } from '../../src/modules.ts'
import { anchorOf } from '../../tools/site/anchors.ts'
import { pages, root } from '../support/pages.ts'

/** What was looked at, so that a page written in another way does not pass unread. */
function failures<T>(things: readonly T[], atLeast: number, check: (thing: T) => string): string[] {
  assert.ok(things.length >= atLeast, `only ${things.length} found`)
  return things.map(check).filter((failure) => failure !== '')
}

function anchorsOf(prose: string): ReadonlySet<string> {
  return new Set([...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading)))
}

test('links lead somewhere, anchors included', () => {
  const links = pages.flatMap((page) =>
    [...page.prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({ page, target })),
  )
  const inside = links.filter(({ target }) => !/^(https?|mailto):/.test(target))
  const dead = failures(inside, 40, ({ page, target }) => {
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? page.path : new URL(path, new URL(page.path, root)).pathname
    const at = new URL(file, root)
    if (!existsSync(at)) return `${page.path}: ${target} is not there`
    if (anchor === undefined) return ''
    const prose = pages.find((each) => new URL(each.path, root).href === at.href)?.prose
    const isThere = prose !== undefined && anchorsOf(prose).has(anchor)
    return isThere ? '' : `${page.path}: ${target} has no such heading`
  })
  assert.deepEqual(dead, [])
})

/** Certificates of an example are on the machines of others. */
const NOT_HERE = /does not exist|has no certificate/

test('settings that are shown are accepted', () => {
  const shown = blocksOf('toml')
  const refused = failures(shown, 12, ({ page, code, file }) => {
    const directory = new URL('.', new URL(file || page.path, root)).pathname
    try {
      checkConfig({ domains: ['im.example.com'], ...parse(code) }, { modules, directory })
      return ''
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      const wrong = error.problems.filter(({ text }) => !NOT_HERE.test(text))
      return wrong.map(({ path, text }) => `${page.path}: ${path.join('.')}: ${text}`).join('\n')
    }
  })
  assert.deepEqual(refused, [])
})

test('code that is shown is part of a file that is checked, and run', () => {
  const shown = [...blocksOf('ts'), ...blocksOf('toml').filter(({ file }) => file !== '')]
  const strangers = failures(shown, 8, ({ page, code, file }) => {
    const isKnown = file !== '' && existsSync(new URL(file, root))
    return isKnown && isWithin(code, sourceOf(file)) ? '' : `${page.path}, of "${file}":\n${code}`
  })
  assert.deepEqual(strangers, [])
})

test('the tutorial shows all of its files', () => {
  const blocks = pages.find(({ path }) => path === 'docs/module-tutorial.md')?.blocks ?? []
  for (const name of ['first.ts', 'terms.ts', 'terms.test.ts', 'meerkat.toml']) {
    const file = `examples/tutorial/${name}`
    const shown = new Set(
      blocks.filter((block) => block.file === file).flatMap(({ code }) => linesOf(code)),
    )
    const hidden = linesOf(sourceOf(file)).filter((line) => !shown.has(line))
    assert.deepEqual(hidden, [], file)
  }
})

test('commands that are shown can be given', async () => {
  const lines = blocksOf('sh').flatMap(({ page, code }) =>
    code.split('\n').flatMap((line) => commandsIn(line).map((words) => ({ page, words }))),
  )
  assert.ok(lines.length >= 25, `only ${lines.length} found`)
  for (const { page, words } of lines) {
    const { isUnderstood, stderr } = await give(words)
    assert.ok(isUnderstood, `${page.path}: meerkat ${words.join(' ')}: ${stderr}`)
  }
})

test('commands that are named are there', async () => {
  const named = new Map(
    pages.flatMap(({ path, prose }) =>
      [...prose.matchAll(/`meerkat ([a-z][^`]*)`/g)].map(([, line = '']) => [line, path]),
    ),
  )
  assert.ok(named.size >= 15)
  for (const [line, path] of named) {
    const words = (line.match(/^[a-z0-9 -]+(?= |$)/)?.[0] ?? '').trim().split(' ')
    assert.ok(await isCommand(words), `${path}: meerkat ${line}`)
  }
})

test('docs/protocols.md is up to date; if not: npm run docs', () => {
  const page = pages.find(({ path }) => path === 'docs/protocols.md')
  assert.equal(page?.text, protocolsPage(modules))
})

test('what the core says it implements is named where it does so', () => {
  for (const { specification, file } of core) {
    const [name = ''] = specification.match(/^(RFC|XEP)[ -]\d{4}/) ?? []
    assert.ok(readFileSync(new URL(file, root), 'utf8').includes(name), `${name} in ${file}`)
  }
})

function blocksOf(language: string) {
  return pages.flatMap((page) =>
    page.blocks.filter((block) => block.language === language).map((block) => ({ page, ...block })),
  )
}

/** As those write it who have installed the package. */
function sourceOf(file: string): string {
  return readFileSync(new URL(file, root), 'utf8').replaceAll("'../../src/index.ts'", "'meerkat'")
}

/** Lines in the same order with nothing between them, however deep they stand. */
function isWithin(code: string, source: string): boolean {
  const bare = (text: string) => `\n${text.trim().replaceAll(/^ +/gm, '')}\n`
  return bare(source).includes(bare(code))
}

function linesOf(code: string): string[] {
  return code.split('\n').flatMap((line) => line.trim() || [])
}

/** What a shell would pass to `meerkat`, of each such command in a line. */
function commandsIn(line: string): string[][] {
  const pipeline: string[][] = [[]]
  for (const [, quoted, word = ''] of line.matchAll(/"([^"]*)"|([^\s"]+)/g)) {
    if (word.startsWith('#') || word === '>') break
    if (word === '|' || word === '&&') pipeline.push([])
    else pipeline.at(-1)?.push(quoted ?? word)
  }
  return pipeline.flatMap((words) => {
    if (words[0] === 'meerkat') return [words.slice(1)]
    return words.slice(0, 4).join(' ') === 'npm run meerkat --' ? [words.slice(4)] : []
  })
}

/** On a command line that does nothing. */
async function give(words: readonly string[]) {
  const told = { stdout: '', stderr: '' }
  const given = async () => {
    throw new Error('given')
  }
  const actions: CliActions = new Proxy({} as CliActions, {
    get: (_, name) => (/^read/.test(String(name)) ? async () => 'as it was read' : given),
  })
  const code = await runCli(words, {
    version: '1.2.3',
    calledAs: 'meerkat',
    directory: '/',
    // Pages speak of a module of one's own, too.
    commands: commandsWith([...modules, terms]).map((each) => ({ ...each, text: () => '' })),
    streams,
    paint: plain,
    actions,
    progress: { show() {}, clear() {} },
    stdout: (text) => {
      told.stdout += text
    },
    stderr: (text) => {
      told.stderr += text
    },
  })
  return { isUnderstood: code === 0 || told.stderr.includes('given'), ...told }
}

/** Whether a command, or a group of some, begins a line; what follows a command is its arguments. */
async function isCommand(words: readonly string[]): Promise<boolean> {
  for (let length = words.length; length > 0; length--) {
    const begin = words.slice(0, length)
    const { stdout } = await give([...begin, '--help'])
    const [usage = ''] = stdout.split('\n')
    if (!usage.startsWith(`Usage: meerkat ${begin.join(' ')} `)) continue
    return length === words.length || !usage.includes('[command]')
  }
  return false
}
