import { cp } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'
import { anchorOf } from '../anchors.ts'
import { sidebarOf } from './sidebar.ts'

const docs = new URL('../../../docs/', import.meta.url)

/** Pages are outside of this folder, so what they are compiled to would not find it by itself. */
const installed = (name: string) => fileURLToPath(import.meta.resolve(name))

type Token = {
  type: string
  tag: string
  nesting: number
  attrGet(name: string): string | null
  attrSet(name: string, value: string): void
}

/**
 * The other files of the repository are not part of the site: their names stay, without a link. A
 * README is the first page of its folder.
 */
function followLinks(tokens: readonly Token[]): void {
  let isOutside = false
  for (const token of tokens) {
    if (token.type === 'link_open') {
      const href = token.attrGet('href') ?? ''
      isOutside = /^(\.\.\/)+(?![a-z-]+\.md)/.test(href)
      token.attrSet('href', href.replace(/^([^:]*)README\.md/, '$1index.md'))
    }
    if (isOutside && token.type.startsWith('link_')) {
      if (token.type === 'link_close') isOutside = false
      Object.assign(token, { type: 'text', tag: '', nesting: 0, content: '' })
    }
  }
}

export default defineConfig({
  title: 'Meerkat',
  description: 'An XMPP server that loses nothing',
  // None; otherwise browsers ask for one.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcDir: fileURLToPath(docs),
  outDir: fileURLToPath(new URL('../dist', import.meta.url)),
  rewrites: { 'README.md': 'index.md', 'decisions/README.md': 'decisions/index.md' },
  themeConfig: {
    sidebar: sidebarOf(docs),
    outline: [2, 3],
    search: { provider: 'local' },
  },
  markdown: {
    anchor: { slugify: anchorOf },
    config(md) {
      md.core.ruler.push('outside', ({ tokens }) => {
        for (const { children } of tokens) followLinks(children ?? [])
      })
      // Which file a piece of code is from.
      const { fence } = md.renderer.rules
      md.renderer.rules.fence = (tokens, index, ...others) => {
        const [, file] = /\[(.+)\]/.exec(tokens[index]?.info ?? '') ?? []
        const code = fence?.(tokens, index, ...others) ?? ''
        return file === undefined ? code : `<p><em>${md.utils.escapeHtml(file)}</em></p>${code}`
      }
    },
  },
  async buildEnd({ outDir }) {
    await cp(new URL('grafana', docs), `${outDir}/grafana`, { recursive: true })
  },
  vite: {
    resolve: {
      alias: [
        { find: /^vue\/server-renderer$/, replacement: installed('vue/server-renderer') },
        { find: /^vue$/, replacement: installed('vue/dist/vue.runtime.esm-bundler.js') },
      ],
    },
  },
})
