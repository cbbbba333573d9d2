// The fonts of the reader's system: no files, nothing to fetch.
export { default } from 'vitepress/theme-without-fonts'
