extern "C" __global__ void __launch_bounds__(256)
sum_70x513(const float* __restrict__ a0, float* __restrict__ a1) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    __shared__ __align__(16) float s0_shared[8];
    float s0 = 0.0f;
    for (int j0k = 0; j0k < 3; j0k++) {
        if (((j0k * 256) + local_0) < 513) {
            const float t0_ = a0[((j0k * 17920) + (local_0 * 70)) + group_0];
            s0 = s0 + (t0_ * t0_);
        }
    }
    const float s0_from = __shfl_xor_sync(0xffffffffu, s0, 16);
    s0 = s0 + s0_from;
    const float s0_from_1 = __shfl_xor_sync(0xffffffffu, s0, 8);
    s0 = s0 + s0_from_1;
    const float s0_from_2 = __shfl_xor_sync(0xffffffffu, s0, 4);
    s0 = s0 + s0_from_2;
    const float s0_from_3 = __shfl_xor_sync(0xffffffffu, s0, 2);
    s0 = s0 + s0_from_3;
    const float s0_from_4 = __shfl_xor_sync(0xffffffffu, s0, 1);
    s0 = s0 + s0_from_4;
    if ((local_0 & 31) == 0) {
        s0_shared[local_0 >> 5] = s0;
    }
    __syncthreads();
    s0 = s0_shared[0];
    for (int warp = 0; warp < 7; warp++) {
        s0 = s0 + s0_shared[warp + 1];
    }
    if (local_0 == 0) {
        a1[group_0] = s0;
    }
}
