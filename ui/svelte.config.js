import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess({ script: false }),
  compilerOptions: {
    runes: true,
    // Nodes are made one by one and never parsed from a text at run time.
    fragments: 'tree',
  },
};
