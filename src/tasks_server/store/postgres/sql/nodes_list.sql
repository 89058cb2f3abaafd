SELECT number, pid, born, realm FROM node
