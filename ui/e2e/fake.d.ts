import "../src/ipc/fake/connect";
