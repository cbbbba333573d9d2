import { globSync, readFileSync } from 'node:fs'

export const root = new URL('../../', import.meta.url)

export type Block = { readonly language: string; readonly file: string; readonly code: string }

export type Page = {
  readonly path: string
  readonly text: string
  /** Without what is in code blocks. */
  readonly prose: string
  readonly blocks: readonly Block[]
}

/** A fence, its language and, in brackets, the file that the code is from. */
const FENCED = /^( *)```([a-z]*)(?: \[([^\]]+)\])?\n([\s\S]*?)^\1```$/gm
const INDENTED = /(?<=\n\n)(?: {4}\S.*\n?(?:\n(?= {4}\S))?)+/g

export function pageOf(path: string): Page {
  const text = readFileSync(new URL(path, root), 'utf8')
  const blocks: Block[] = []
  const take = (language: string, file: string, code: string) => {
    blocks.push({ language, file, code })
    return ''
  }
  const prose = text
    .replace(
      FENCED,
      (_, indent: string, language: string, file: string | undefined, code: string) =>
        take(language, file ?? '', code.replaceAll(new RegExp(`^${indent}`, 'gm'), '')),
    )
    // Commands, in pages that set them in rather than fence them.
    .replace(INDENTED, (code) => take('sh', '', code.replaceAll(/^ {4}/gm, '')))
  return { path, text, prose, blocks }
}

/** All that people read, from the root of the repository. */
export const pages: readonly Page[] = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...globSync(['docs/**/*.md', 'bench/*.md'], { cwd: root }),
].map(pageOf)
